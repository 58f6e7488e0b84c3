#include "coarse.hpp"

#include <algorithm>

#include "sizes.hpp"

namespace dsunet_runtime {

std::vector<double> block_means(const std::uint8_t *levels, std::int64_t height,
                                std::int64_t width) {
  const std::int64_t rows = std::min<std::int64_t>(kGrid, height);
  const std::int64_t columns = std::min<std::int64_t>(kGrid, width);
  std::vector<double> means;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t top = row * height / rows, bottom = (row + 1) * height / rows;
      const std::int64_t left = column * width / columns, right = (column + 1) * width / columns;
      std::int64_t sum = 0;
      for (std::int64_t y = top; y < bottom; ++y) {
        for (std::int64_t x = left; x < right; ++x) sum += levels[y * width + x];
      }
      const auto area = static_cast<double>((bottom - top) * (right - left));
      means.push_back(static_cast<double>(sum) / area);
    }
  }
  return means;
}

// The places are a multiplicative hash of their number, modulo 2³².
std::vector<double> point_values(const std::uint8_t *levels, std::int64_t height,
                                 std::int64_t width) {
  std::vector<double> values;
  for (std::uint32_t number = 1; number <= kPoints; ++number) {
    const std::int64_t mixed = number * std::uint32_t{2'654'435'761};
    const std::int64_t y = (mixed >> 16) * height >> 16, x = (mixed % 65536) * width >> 16;
    values.push_back(levels[y * width + x]);
  }
  return values;
}

}  // namespace dsunet_runtime
