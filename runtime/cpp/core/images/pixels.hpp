// Pixel formats: the arithmetic, which a CUDA kernel shares, and conversion of frames to RGB on the
// host.
//
// The integers, and the result to the byte, are those of Python (images/pixels.py).
#pragma once

#include <cstddef>
#include <cstdint>

#include "dsunet/runtime.h"

#if defined(__CUDACC__)
#define DSUNET_ANYWHERE __host__ __device__
#else
#define DSUNET_ANYWHERE
#endif

namespace dsunet_runtime {

// Coefficients with 16 fractional bits; `include/dsunet/runtime.h` has the formula.
struct YuvCoefficients {
  std::int32_t luma_zero, luma, red_v, green_u, green_v, blue_u;
};

DSUNET_ANYWHERE constexpr YuvCoefficients yuv_coefficients(std::int32_t encoding) {
  switch (encoding) {
    case DSUNET_BT601_FULL:
      return {0, 65536, 91881, 22553, 46802, 116130};
    case DSUNET_BT709_LIMITED:
      return {16, 76309, 117489, 13975, 34925, 138438};
    case DSUNET_BT709_FULL:
      return {0, 65536, 103206, 12276, 30679, 121609};
    default:  // DSUNET_BT601_LIMITED
      return {16, 76309, 104597, 25675, 53279, 132201};
  }
}

struct Rgb {
  std::uint8_t red, green, blue;
};

DSUNET_ANYWHERE constexpr std::uint8_t level_of(std::int32_t fixed) {
  const std::int32_t level = (fixed + 32768) >> 16;
  return static_cast<std::uint8_t>(level < 0 ? 0 : level > 255 ? 255 : level);
}

DSUNET_ANYWHERE constexpr Rgb rgb_of_yuv(std::int32_t luma, std::int32_t u, std::int32_t v,
                                         const YuvCoefficients &by) {
  const std::int32_t y = by.luma * (luma - by.luma_zero);
  const std::int32_t du = u - 128, dv = v - 128;
  return {level_of(y + by.red_v * dv), level_of(y - by.green_u * du - by.green_v * dv),
          level_of(y + by.blue_u * du)};
}

// A frame that has been checked, with all defaults resolved: pointers are those of its region.
struct FrameView {
  const std::uint8_t *data;  // the region's first pixel; of NV12, that of Y
  std::ptrdiff_t stride;
  const std::uint8_t
      *chroma;  // the row of U and V of the region's first row, from x = 0 of the frame
  std::ptrdiff_t chroma_stride;
  std::int32_t x, y;  // of the region, which locate U and V of NV12
  std::int32_t width, height;
  std::int32_t format, encoding;

  std::size_t pixels() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  }

  // Whether the pixels are RGB without gaps, as the network takes them.
  bool is_packed_rgb() const {
    return format == DSUNET_RGB && (height == 1 || stride == std::ptrdiff_t{3} * width);
  }
};

// Where a mask is written; checked, with its default resolved.
struct MaskView {
  std::uint8_t *data;
  std::ptrdiff_t stride;
  std::int32_t threshold;

  // Whether the rows of a frame's mask follow each other without a gap.
  bool is_packed(const FrameView &frame) const {
    return frame.height == 1 || stride == frame.width;
  }
};

// Whether frames of one size lie in memory as the network takes a batch.
inline bool are_one_block(const FrameView *frames, std::size_t count) {
  for (std::size_t index = 0; index < count; ++index) {
    const std::uint8_t *expected = frames->data + 3 * frames->pixels() * index;
    if (!frames[index].is_packed_rgb() || frames[index].data != expected) return false;
  }
  return true;
}

// Whether the masks of frames of one size lie in memory as the network writes them.
inline bool are_one_block(const MaskView *masks, const FrameView &frame, std::size_t count) {
  for (std::size_t index = 0; index < count; ++index) {
    const std::uint8_t *expected = masks->data + frame.pixels() * index;
    if (!masks[index].is_packed(frame) || masks[index].data != expected) return false;
  }
  return true;
}

DSUNET_ANYWHERE constexpr std::int32_t bytes_per_pixel(std::int32_t format) {
  return format == DSUNET_NV12 ? 1 : format == DSUNET_RGBA || format == DSUNET_BGRA ? 4 : 3;
}

// One pixel of a frame, `column` and `row` within its region.
DSUNET_ANYWHERE inline Rgb pixel_at(const FrameView &frame, std::int32_t column, std::int32_t row) {
  const std::uint8_t *line = frame.data + row * frame.stride;
  if (frame.format == DSUNET_NV12) {
    const std::int32_t chroma_row = (frame.y + row) / 2 - frame.y / 2;
    const std::uint8_t *pair =
        frame.chroma + chroma_row * frame.chroma_stride + (frame.x + column) / 2 * 2;
    return rgb_of_yuv(line[column], pair[0], pair[1], yuv_coefficients(frame.encoding));
  }
  const std::uint8_t *pixel = line + std::ptrdiff_t{bytes_per_pixel(frame.format)} * column;
  const bool is_reversed = frame.format == DSUNET_BGR || frame.format == DSUNET_BGRA;
  return is_reversed ? Rgb{pixel[2], pixel[1], pixel[0]} : Rgb{pixel[0], pixel[1], pixel[2]};
}

// The bytes from one row to the next, by default `row`.  Throws Fault unless rows lie apart, or if
// they are so far apart that addresses could overflow.
std::ptrdiff_t checked_stride(const char *field, std::ptrdiff_t stride, std::ptrdiff_t row);

// Check a frame of the C interface and resolve its defaults.  Throws Fault.
FrameView checked(const dsunet_frame &frame);

// Write a frame's region as RGB without gaps: height × width × 3 bytes.
void convert_to_rgb(const FrameView &frame, std::uint8_t *rgb);

}  // namespace dsunet_runtime
