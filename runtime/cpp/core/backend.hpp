// A backend: a shared object, built with this library, that runs networks with one SDK.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../backends/interface.h"
#include "artifact/manifest_file.hpp"

namespace dsunet_runtime {

// The fields of dsunet_options, checked.
struct OpenOptions {
  std::string provider;  // empty for engines
  std::int32_t threads = 0, device = 0;
  dsunet_selftest_policy selftest = DSUNET_SELFTEST_AUTO;
  bool allow_cpu_fallback = false, verify_hashes = false;
  std::string library, provider_library, backends;
};

// A lane of a backend, which computes one batch at a time, with its buffers.
class BackendLane {
 public:
  BackendLane(const dsunet_backend_table &table, void *backend);
  ~BackendLane();
  BackendLane(const BackendLane &) = delete;
  BackendLane &operator=(const BackendLane &) = delete;

  // The lane's buffers for a batch: `frames` and `masks` point to them.  Throws Fault if the memory
  // is not available.
  dsunet_batch reserve(std::int64_t count, std::int64_t height, std::int64_t width,
                       std::uint8_t **frames);

  // Compute a batch, and wait for it.  Throws Fault.
  void run(const dsunet_batch &batch);

 private:
  const dsunet_backend_table &table_;
  void *lane_ = nullptr;
  std::int64_t largest_ = 0;  // pixels of the largest batch so far
};

class Backend {
 public:
  // Throws Fault if the backend or its SDK is missing, or cannot run the artifact.
  Backend(const Artifact &artifact, const OpenOptions &options);
  ~Backend();
  Backend(const Backend &) = delete;
  Backend &operator=(const Backend &) = delete;

  // The greatest number of lanes that is useful at once; 0: any number.
  std::size_t most_lanes() const { return static_cast<std::size_t>(table_->most_lanes); }
  // Whether lanes run batches in the caller's memory, and not only in their own buffers.
  bool takes_any_memory() const { return table_->takes_any_memory != 0; }
  std::unique_ptr<BackendLane> open_lane() {
    return std::make_unique<BackendLane>(*table_, backend_);
  }

  // Device, driver and libraries; empty for the provider `cpu`.
  std::vector<std::string> machine() const;

  // Throws Fault if the backend takes no frames in GPU memory.
  void require_device_frames() const;

  // See dsunet_segment_device.  There are as many masks as frames, which have one size.
  void enqueue(const std::vector<FrameView> &frames, const std::vector<MaskView> &masks,
               void *stream);

 private:
  const dsunet_backend_table *table_;
  void *backend_ = nullptr;
};

}  // namespace dsunet_runtime
