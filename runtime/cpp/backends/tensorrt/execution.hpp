// Runs of an engine, which share its execution context: one after the other on the GPU, from any
// threads and streams.  Copies overlap with them (backends/tensorrt/execution.py).
#pragma once

#include <mutex>
#include <optional>

#include "cuda.hpp"
#include "engine.hpp"

namespace dsunet_runtime::tensorrt {

// Safe to use from any thread.  The device's context must be current in all methods.
class Execution {
 public:
  Execution(const Driver &driver, LoadedEngine &engine);

  Execution(const Execution &) = delete;
  Execution &operator=(const Execution &) = delete;

  // Enqueue work on a stream: after all runs before and before all later ones.  `work` is called
  // with the stream, and enqueues on it; calls of other threads wait meanwhile.
  //
  // On a default stream, TensorRT would synchronise with the whole GPU.  So the work is put on an
  // internal stream, and the default stream waits for it, without blocking the host.
  template <class Work>
  void enqueue(CUstream stream, const Work &work) {
    const std::lock_guard lock(mutex_);
    if (!is_default(stream)) return enqueue_in_order(stream, work);
    arrived_.record(stream);
    arrived_.wait(detour_.get());
    try {
      enqueue_in_order(detour_.get(), work);
    } catch (...) {
      done_.wait(stream);  // for what was enqueued
      throw;
    }
    done_.wait(stream);
  }

  // Enqueue a run; within `work` only.
  void run(const BatchShape &shape, CUdeviceptr image, CUdeviceptr mask, CUstream stream);

  // Wait until no run is on the GPU.
  void synchronize() const { done_.synchronize(); }

  // The same for destructors: errors are ignored.  On a lost GPU nothing runs.
  void finish() const noexcept;

 private:
  static bool is_default(CUstream stream) {
    return stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD;
  }

  template <class Work>
  void enqueue_in_order(CUstream stream, const Work &work) {
    done_.wait(stream);
    try {
      work(stream);
    } catch (...) {
      done_.record(stream);  // for what was enqueued
      throw;
    }
    done_.record(stream);
  }

  LoadedEngine &engine_;
  std::mutex mutex_;
  Event done_, arrived_;
  Stream detour_;
  std::optional<BatchShape> shape_;
};

}  // namespace dsunet_runtime::tensorrt
