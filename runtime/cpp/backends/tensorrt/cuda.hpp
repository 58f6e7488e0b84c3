// The CUDA driver, which is loaded at run time, and owners of its objects.
//
// As in Python (dsunet_runtime/cuda), a device uses its primary context, which is current only
// within `CurrentContext`.  Everything that belongs to a device is created and released within it.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <string>
#include <vector>

#include "../../core/system.hpp"

namespace dsunet_runtime::tensorrt {

// The functions that are used.  Some names are macros of cuda.h for names with a version.
#define DSUNET_FOR_EACH_CUDA_FUNCTION(use)                                                        \
  use(cuInit) use(cuDriverGetVersion) use(cuDeviceGetCount) use(cuDeviceGet) use(cuDeviceGetName) \
      use(cuDeviceGetAttribute) use(cuDevicePrimaryCtxRetain) use(cuDevicePrimaryCtxRelease)      \
          use(cuCtxPushCurrent) use(cuCtxPopCurrent) use(cuGetErrorName) use(cuMemAlloc)          \
              use(cuMemFree) use(cuMemHostAlloc) use(cuMemFreeHost) use(cuMemcpyHtoDAsync)        \
                  use(cuMemcpyDtoHAsync) use(cuPointerGetAttribute) use(cuStreamCreate)           \
                      use(cuStreamSynchronize) use(cuStreamDestroy) use(cuStreamWaitEvent)        \
                          use(cuEventCreate) use(cuEventRecord) use(cuEventSynchronize)           \
                              use(cuEventDestroy) use(cuModuleLoadData) use(cuModuleUnload)       \
                                  use(cuModuleGetFunction) use(cuLaunchKernel)
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration
#define DSUNET_DECLARE(name) decltype(&::name) name = nullptr;

// The remedy if GPU memory is insufficient (cuda/errors.py).
extern const char *const kMemoryRemedy;

class Driver {
 public:
  // Throws Fault if there is no driver, or if it is too old.
  Driver();

  // Throws Fault(DSUNET_ERROR_BACKEND), which names the function, unless a call succeeded.
  void require(CUresult status, const char *function) const;

  // For example "CUDA_ERROR_OUT_OF_MEMORY".
  std::string name_of(CUresult status) const;

  // The newest version of CUDA that the driver supports, for example "13.0".
  std::string version() const;

  DSUNET_FOR_EACH_CUDA_FUNCTION(DSUNET_DECLARE)

 private:
  SharedLibrary library_;
};

#undef DSUNET_DECLARE

struct Gpu {
  int index = 0;
  std::string name;                // for example "NVIDIA GeForce RTX 4090"
  std::string compute_capability;  // for example "8.9"
};

// The GPUs of this process, in CUDA's order.
std::vector<Gpu> find_gpus(const Driver &driver);

// A GPU with its primary context.
class Device {
 public:
  Device(const Driver &driver, Gpu gpu);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver() const { return driver_; }
  const Gpu &gpu() const { return gpu_; }
  CUcontext context() const { return context_; }

  // Whether an address is in the memory of this device, not of the host or of another GPU.
  bool holds(const void *address) const;

 private:
  const Driver &driver_;
  Gpu gpu_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

// Makes the device's context current in this thread, until the end of the scope.
class CurrentContext {
 public:
  explicit CurrentContext(const Device &device);

  // For destructors: on a lost GPU, calls within fail, and are ignored.
  CurrentContext(const Device &device, std::nothrow_t) noexcept;

  ~CurrentContext();
  CurrentContext(const CurrentContext &) = delete;
  CurrentContext &operator=(const CurrentContext &) = delete;

 private:
  const Driver &driver_;
  bool is_pushed_;
};

// A stream that does not synchronise with the default stream.
class Stream {
 public:
  explicit Stream(const Driver &driver);
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  CUstream get() const { return stream_; }

 private:
  const Driver &driver_;
  CUstream stream_ = nullptr;
};

// An event without timing.  A host thread that waits for it sleeps.
class Event {
 public:
  explicit Event(const Driver &driver);
  ~Event();
  Event(const Event &) = delete;
  Event &operator=(const Event &) = delete;

  void record(CUstream stream) const;
  void wait(CUstream stream) const;
  void synchronize() const;

 private:
  const Driver &driver_;
  CUevent event_ = nullptr;
};

// Device memory that grows, which discards its content.
class DeviceMemory {
 public:
  explicit DeviceMemory(const Driver &driver) : driver_(driver) {}
  ~DeviceMemory() { release(); }
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  std::size_t size() const { return size_; }
  CUdeviceptr address() const { return address_; }
  std::uint8_t *data() const { return reinterpret_cast<std::uint8_t *>(address_); }

  // At least this many bytes.  Nothing may use the memory.
  void reserve(std::size_t size);

 private:
  void release() noexcept;

  const Driver &driver_;
  std::size_t size_ = 0;
  CUdeviceptr address_ = 0;
};

// Pinned host memory that grows, which discards its content.
class PinnedMemory {
 public:
  explicit PinnedMemory(const Driver &driver) : driver_(driver) {}
  ~PinnedMemory() { release(); }
  PinnedMemory(const PinnedMemory &) = delete;
  PinnedMemory &operator=(const PinnedMemory &) = delete;

  std::uint8_t *data() const { return static_cast<std::uint8_t *>(data_); }

  // At least this many bytes.  Nothing may use the memory.
  void reserve(std::size_t size);

 private:
  void release() noexcept;

  const Driver &driver_;
  std::size_t size_ = 0;
  void *data_ = nullptr;
};

}  // namespace dsunet_runtime::tensorrt
