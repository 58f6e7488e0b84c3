// An engine in GPU memory with one execution context, of either flavor of TensorRT
// (backends/tensorrt/engine.py).
//
// `engine.cpp` is compiled once for each flavor whose headers are found: the classes of the flavors
// have the same names and other virtual functions.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <memory>
#include <string>

#include "../../core/artifact/manifest_file.hpp"
#include "../../core/system.hpp"

namespace dsunet_runtime::tensorrt {

// Sizes of the batch that an engine computes.
struct BatchShape {
  std::int64_t count = 0, height = 0, width = 0;

  bool operator==(const BatchShape &other) const {
    return count == other.count && height == other.height && width == other.width;
  }
  bool operator!=(const BatchShape &other) const { return !(*this == other); }

  std::size_t pixels() const { return static_cast<std::size_t>(count * height * width); }
};

// For one thread at a time, with the device's context current.  Functions throw Fault if TensorRT
// fails.
class LoadedEngine {
 public:
  virtual ~LoadedEngine() = default;

  virtual void set_shape(const BatchShape &shape) = 0;

  // Enqueue a run: `image` and `mask` are device addresses, aligned as TensorRT requires.
  virtual void enqueue(CUdeviceptr image, CUdeviceptr mask, CUstream stream) = 0;

  // The kernels that TensorRT for RTX has compiled; empty for classic TensorRT.
  virtual std::string compiled_kernels() const = 0;
};

// Alignment in bytes that TensorRT requires of addresses.
constexpr std::size_t kAlignment = 256;

// The code that is compiled for a flavor.
struct Sdk {
  // Version of its headers, whose virtual functions are those of a library of this major version.
  int major, minor;

  // Load the engine.  `compiled_kernels` are those of an earlier process, or empty.  Throws Fault
  // if TensorRT rejects the engine, or if it does not match its manifest.
  std::unique_ptr<LoadedEngine> (*open)(const Artifact &artifact, const SharedLibrary &library,
                                        const std::string &compiled_kernels);
};

// nullptr if this backend was built without the headers of the flavor.
const Sdk *find_sdk(Flavor flavor);

}  // namespace dsunet_runtime::tensorrt
