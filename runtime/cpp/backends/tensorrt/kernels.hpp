// The work of the CUDA kernels for one pixel.  Host code includes this too: launches use the
// constants, and tests call the functions.
#pragma once

#include "../../core/images/pixels.hpp"

namespace dsunet_runtime::tensorrt {

// Threads of a block, along a row.  CUDA limits the number of blocks along the columns, so that
// each computes several rows of tall frames.
constexpr std::int32_t kThreads = 256;
constexpr std::int32_t kMostBlocksOfRows = 65535;

// Names and parameters of the kernels, which are in kernels.cu:
//   kConvert: FrameView frame, std::uint8_t *rgb
//   kWrite: const std::uint8_t *levels, MaskView mask, std::int32_t width, std::int32_t height
constexpr const char *kConvert = "dsunet_convert_frame";
constexpr const char *kWrite = "dsunet_write_mask";

// Write one pixel of a frame's region as RGB; `rgb` is the buffer of the whole frame.
DSUNET_ANYWHERE inline void convert_pixel(const FrameView &frame, std::uint8_t *rgb,
                                          std::int32_t column, std::int32_t row) {
  const Rgb pixel = pixel_at(frame, column, row);
  std::uint8_t *target = rgb + 3 * (std::ptrdiff_t{frame.width} * row + column);
  target[0] = pixel.red;
  target[1] = pixel.green;
  target[2] = pixel.blue;
}

// Write one level of a mask; `levels` has no gaps.
DSUNET_ANYWHERE inline void write_level(const std::uint8_t *levels, const MaskView &mask,
                                        std::int32_t width, std::int32_t column, std::int32_t row) {
  const std::uint8_t level = levels[std::ptrdiff_t{width} * row + column];
  std::uint8_t *target = mask.data + row * mask.stride + column;
  *target = mask.threshold == 0 ? level : level >= mask.threshold ? 255 : 0;
}

}  // namespace dsunet_runtime::tensorrt
