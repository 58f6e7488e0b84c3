// A lane of an engine: one batch at a time, from and to host memory.
#pragma once

#include "../interface.h"
#include "execution.hpp"

namespace dsunet_runtime::tensorrt {

// While the GPU computes the batch of one lane, the batch of another is copied.
class Lane {
 public:
  Lane(const Device &device, Execution &execution);

  // Buffers of pinned memory of at least this size.  When they grow, earlier ones become invalid.
  void reserve(const BatchShape &shape, std::uint8_t **frames, std::uint8_t **masks);

  // Compute the batch that is in the buffers, and wait for it.
  void run(const BatchShape &shape);

  const Device &device() const { return device_; }

 private:
  void enqueue(const BatchShape &shape) const;

  const Device &device_;
  Execution &execution_;
  Stream stream_;
  Event done_;
  PinnedMemory frames_, masks_;
  DeviceMemory image_, mask_;
};

}  // namespace dsunet_runtime::tensorrt
