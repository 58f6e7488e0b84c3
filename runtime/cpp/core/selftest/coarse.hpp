// A mask reduced to a few numbers (selftest/coarse.py).
#pragma once

#include <cstdint>
#include <vector>

namespace dsunet_runtime {

// Mean levels of the blocks of a mask, at most kGrid × kGrid, row by row.
std::vector<double> block_means(const std::uint8_t *levels, std::int64_t height,
                                std::int64_t width);

// Levels of a mask at kPoints places.
std::vector<double> point_values(const std::uint8_t *levels, std::int64_t height,
                                 std::int64_t width);

}  // namespace dsunet_runtime
