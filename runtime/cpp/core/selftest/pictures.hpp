// Pictures of the self-test, computed with integers only (selftest/pictures.py).
#pragma once

#include <cstdint>

namespace dsunet_runtime {

// Draw picture `number`, less than kPictures, as RGB without gaps: height × width × 3 bytes.
void draw_picture(std::int64_t number, std::int64_t height, std::int64_t width, std::uint8_t *rgb);

}  // namespace dsunet_runtime
