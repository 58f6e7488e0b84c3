// The file of kernels that TensorRT for RTX has compiled on this GPU, next to the engine
// (backends/tensorrt/runtime_cache.py).
#pragma once

#include <string>

namespace dsunet_runtime::tensorrt {

// If the file cannot be read or written, kernels are compiled again.
class RuntimeCache {
 public:
  // The file's name has the GPU's name, the driver's version and that of TensorRT, as in Python.
  RuntimeCache(const std::string &engine, const std::string &gpu, const std::string &driver,
               const std::string &version);

  // The content of the file; empty if there is none.
  std::string read();

  // Write the file if the kernels have changed since they were read or written.  Files of other
  // drivers and releases for the same engine and GPU are then deleted.
  void save(const std::string &kernels);

 private:
  void delete_older() const;

  std::string file_, saved_;  // saved_: the SHA-256 of the file's content
};

}  // namespace dsunet_runtime::tensorrt
