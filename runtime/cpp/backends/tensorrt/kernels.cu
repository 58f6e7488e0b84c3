// CUDA kernels of device_frames.cpp, compiled to PTX that the backend contains.

#include "kernels.hpp"

namespace {

__device__ std::int32_t this_column() {
  return static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
}

}  // namespace

extern "C" __global__ void dsunet_convert_frame(dsunet_runtime::FrameView frame,
                                                std::uint8_t *rgb) {
  const std::int32_t column = this_column();
  if (column >= frame.width) return;
  for (auto row = static_cast<std::int32_t>(blockIdx.y); row < frame.height;
       row += static_cast<std::int32_t>(gridDim.y)) {
    dsunet_runtime::tensorrt::convert_pixel(frame, rgb, column, row);
  }
}

extern "C" __global__ void dsunet_write_mask(const std::uint8_t *levels,
                                             dsunet_runtime::MaskView mask, std::int32_t width,
                                             std::int32_t height) {
  const std::int32_t column = this_column();
  if (column >= width) return;
  for (auto row = static_cast<std::int32_t>(blockIdx.y); row < height;
       row += static_cast<std::int32_t>(gridDim.y)) {
    dsunet_runtime::tensorrt::write_level(levels, mask, width, column, row);
  }
}
