// An engine that is open on a GPU.
#pragma once

#include <optional>
#include <string>

#include "../interface.h"
#include "device_frames.hpp"
#include "execution.hpp"
#include "library.hpp"
#include "runtime_cache.hpp"

namespace dsunet_runtime::tensorrt {

class Session {
 public:
  // Throws Fault if a library is missing, if the engine does not fit the machine, or if it does not
  // match its manifest.
  explicit Session(const dsunet_backend_request &request);

  // Waits for work on streams, and writes the kernels that runs have compiled.  Lanes must be
  // closed first.
  ~Session();

  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  // Device, driver and libraries, one per line.
  const std::string &machine() const { return machine_; }

  const Device &device() const { return device_; }
  Execution &execution() { return *execution_; }
  DeviceFrames &device_frames() { return *device_frames_; }

 private:
  Session(const Artifact &artifact, const dsunet_backend_request &request);

  void start(const Artifact &artifact);
  void release();

  Library library_;
  Driver driver_;
  Device device_;
  std::string machine_;
  std::optional<RuntimeCache> cache_;  // of TensorRT for RTX

  // Within the device's context.
  std::unique_ptr<LoadedEngine> engine_;
  std::optional<Execution> execution_;
  std::optional<DeviceFrames> device_frames_;
};

}  // namespace dsunet_runtime::tensorrt
