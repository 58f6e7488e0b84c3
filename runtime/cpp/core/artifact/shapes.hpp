// Ranges of the shapes that an artifact takes, from its manifest (artifact/shapes.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest.hpp"

namespace dsunet_runtime {

// The largest size of a dimension, of frames too.
constexpr std::int32_t kMostOfDimension = 1 << 20;

// The size of one dimension; both ends are included, and a maximum of 0 is no limit.
struct Range {
  std::int64_t minimum = 1, optimum = 1, maximum = 0;

  bool contains(std::int64_t size) const {
    return minimum <= size && (maximum == 0 || size <= maximum);
  }

  // "any", "512" or "256 to 1024".
  std::string in_words() const;
};

// Ranges of an input's dimensions.  Throws Fault if the profiles of an engine do not fit its
// inputs.
std::vector<Range> input_ranges(const Manifest &manifest, const TensorSpec &input);

// Ranges of the frames that an artifact in the frames form takes.
struct FrameRanges {
  Range batch, height, width;
};

// Throws Fault unless the tensors of the manifest are those of the frames form.
FrameRanges frame_ranges(const Manifest &manifest);

}  // namespace dsunet_runtime
