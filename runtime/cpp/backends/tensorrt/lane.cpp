#include "lane.hpp"

namespace dsunet_runtime::tensorrt {

Lane::Lane(const Device &device, Execution &execution)
    : device_(device),
      execution_(execution),
      stream_(device.driver()),
      done_(device.driver()),
      frames_(device.driver()),
      masks_(device.driver()),
      image_(device.driver()),
      mask_(device.driver()) {}

void Lane::reserve(const BatchShape &shape, std::uint8_t **frames, std::uint8_t **masks) {
  const std::size_t pixels = shape.pixels();
  frames_.reserve(3 * pixels);
  masks_.reserve(pixels);
  image_.reserve(3 * pixels);
  mask_.reserve(pixels);
  *frames = frames_.data();
  *masks = masks_.data();
}

void Lane::run(const BatchShape &shape) {
  const Driver &driver = device_.driver();
  try {
    enqueue(shape);
    done_.synchronize();
  } catch (...) {
    driver.cuStreamSynchronize(stream_.get());  // the buffers are still used
    throw;
  }
}

void Lane::enqueue(const BatchShape &shape) const {
  const Driver &driver = device_.driver();
  const CUstream stream = stream_.get();
  const std::size_t pixels = shape.pixels();
  driver.require(driver.cuMemcpyHtoDAsync(image_.address(), frames_.data(), 3 * pixels, stream),
                 "cuMemcpyHtoDAsync");
  execution_.enqueue(
      stream, [&](CUstream on) { execution_.run(shape, image_.address(), mask_.address(), on); });
  driver.require(driver.cuMemcpyDtoHAsync(masks_.data(), mask_.address(), pixels, stream),
                 "cuMemcpyDtoHAsync");
  done_.record(stream);
}

}  // namespace dsunet_runtime::tensorrt
