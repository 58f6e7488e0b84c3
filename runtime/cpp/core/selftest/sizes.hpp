// Numbers of pictures, blocks and points of a self-test (selftest/sizes.py).
#pragma once

namespace dsunet_runtime {

constexpr int kPictures = 3;
constexpr int kGrid = 8;  // blocks along each side of a mask
constexpr int kPoints = 64;

}  // namespace dsunet_runtime
