// The state of the stand-in of CUDA's driver: GPUs, memory, and work that waits in streams.
//
// Work in streams is done only when a thread synchronises, and only the work that this thread waits
// for.  So missing waits between streams, or between the GPU and the host, lead to wrong results,
// as does memory that is written or freed too early.  tests/runtime/fake_cuda.py does the same.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "../../../runtime/cpp/backends/tensorrt/kernels.hpp"
#include "stand_in.hpp"

namespace stand_in {

// A point in a stream.
struct Mark {
  CUstream stream;
  bool is_done = false;
};
using MarkPointer = std::shared_ptr<Mark>;

struct Work {
  std::function<void()> run;
  MarkPointer waits_for;  // of another stream
};

struct Allocation {
  std::size_t size;
  int device;  // -1: of the host
  void *whole;
};

struct Gpu {
  std::string name;
  int major, minor;
  int retained = 0;
};

struct Plan {
  CUresult status;
  int skipped;  // calls that succeed before
};

struct State {
  std::recursive_mutex mutex;
  std::vector<Gpu> gpus;
  std::map<CUdeviceptr, Allocation> memory;
  std::map<CUstream, std::deque<Work>> streams;
  std::map<CUevent, MarkPointer> events;
  std::map<std::string, int> held, calls;
  std::map<std::string, Plan> plans;
  std::map<std::string, std::int64_t> settings;
  std::string faults;
  bool is_lost = false;
  std::uintptr_t last_handle = 1000;
  std::string functions[2] = {dsunet_runtime::tensorrt::kConvert, dsunet_runtime::tensorrt::kWrite};
};

// The functions below need its mutex.
State &state();
using Lock = std::lock_guard<std::recursive_mutex>;

// Contexts that are current in this thread, the last on top.
extern thread_local std::vector<CUcontext> contexts;

// Count a call, and return the status that a test has planned for it.
CUresult planned(const char *call);

// The status with which a call of CUDA ends before it does anything.
CUresult entered(const char *call, bool needs_context);

void put(CUstream stream, Work work);

// Put a mark into a stream, which is done when all work before it is.
MarkPointer mark(CUstream stream);

// Do the work before a mark; with the setting `interleaved`, one piece of every stream after the
// other.
CUresult carry_out(const MarkPointer &until);

// Memory of a device, or with -1 of the host.
CUdeviceptr allocate(std::size_t size, int device);
CUresult release_memory(CUdeviceptr address, const char *kind);

// The allocation that an address is in, or nullptr.
const Allocation *allocation_of(CUdeviceptr address);

}  // namespace stand_in
