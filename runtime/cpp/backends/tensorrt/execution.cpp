#include "execution.hpp"

#include <exception>

namespace dsunet_runtime::tensorrt {

Execution::Execution(const Driver &driver, LoadedEngine &engine)
    : engine_(engine), done_(driver), arrived_(driver), detour_(driver) {}

void Execution::finish() const noexcept {
  try {
    synchronize();
  } catch (const std::exception &) {
    return;
  }
}

void Execution::run(const BatchShape &shape, CUdeviceptr image, CUdeviceptr mask, CUstream stream) {
  if (shape_ != shape) {
    shape_.reset();
    engine_.set_shape(shape);
    shape_ = shape;
  }
  engine_.enqueue(image, mask, stream);
}

}  // namespace dsunet_runtime::tensorrt
