// Frames and masks in GPU memory that callers provide: without copies where TensorRT can read and
// write them, otherwise by kernels that convert.
#pragma once

#include "../../core/images/pixels.hpp"
#include "execution.hpp"

namespace dsunet_runtime::tensorrt {

// Safe to use from any thread, with the device's context current.
class DeviceFrames {
 public:
  DeviceFrames(const Device &device, Execution &execution);
  ~DeviceFrames();
  DeviceFrames(const DeviceFrames &) = delete;
  DeviceFrames &operator=(const DeviceFrames &) = delete;

  // See dsunet_segment_device; the frames have one size.  Throws Fault.
  void enqueue(const FrameView *frames, const MaskView *masks, std::size_t count, CUstream stream);

 private:
  void check_memory(const FrameView &frame, const MaskView &mask) const;
  void prepare(bool reads_directly, bool writes_directly, std::size_t pixels);
  void load_kernels();
  void launch(CUfunction kernel, const FrameView &size, void **parameters, CUstream stream) const;

  const Device &device_;
  Execution &execution_;
  CUmodule module_ = nullptr;
  CUfunction convert_ = nullptr, write_ = nullptr;
  DeviceMemory rgb_, levels_;
};

}  // namespace dsunet_runtime::tensorrt
