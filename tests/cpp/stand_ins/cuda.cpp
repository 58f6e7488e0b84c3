// CUDA's driver on host memory.  It puts off everything until somebody waits
// for it.
//
// Nothing that is put into a stream is done before a thread synchronises: then
// only what that thread waits for.  So a wait that is missing between streams,
// or between the GPU and the host, shows in the results; and so does memory
// that is written or freed too early.  (The same as
// tests/runtime/fake_cuda.py.)

#include <cuda.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../../runtime/cpp/backends/tensorrt/kernels.hpp"
#include "stand_in.hpp"

namespace {

constexpr std::uint8_t kPoison = 0xDD;
constexpr std::size_t kAlignment = 256;

// How far a stream has come.
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

State &state() {
  static State &one = *new State;
  return one;
}

thread_local std::vector<CUcontext> contexts;

using Lock = std::lock_guard<std::recursive_mutex>;

// Count a call, and return its planned failure.
CUresult planned(const char *call) {
  State &here = state();
  ++here.calls[call];
  const auto found = here.plans.find(call);
  if (found == here.plans.end() || found->second.skipped-- > 0) return CUDA_SUCCESS;
  return found->second.status;
}

CUresult entered(const char *call, bool needs_context) {
  const CUresult plan = planned(call);
  if (plan != CUDA_SUCCESS) return plan;
  if (state().is_lost || state().settings["lost"] != 0) return CUDA_ERROR_ILLEGAL_ADDRESS;
  return needs_context && contexts.empty() ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

#define ENTER(call, needs_context) \
  const Lock lock(state().mutex);  \
  if (const CUresult status = entered(call, needs_context); status != CUDA_SUCCESS) return status

template <class Handle>
Handle new_handle(const char *kind) {
  stand_in::hold(kind);
  return reinterpret_cast<Handle>(++state().last_handle);
}

void put(CUstream stream, Work work) {
  const auto found = state().streams.find(stream);
  if (found == state().streams.end())
    return stand_in::fault("work on a stream that does not exist");
  found->second.push_back(std::move(work));
}

MarkPointer mark(CUstream stream) {
  auto made = std::make_shared<Mark>(Mark{stream});
  put(stream, {[made] { made->is_done = true; }, nullptr});
  return made;
}

// Do the next work of a stream, and return whether it need not wait.
bool step(CUstream stream) {
  auto &queue = state().streams[stream];
  if (queue.empty()) return false;
  if (queue.front().waits_for && !queue.front().waits_for->is_done) return false;
  const Work work = queue.front();
  queue.pop_front();
  try {
    if (work.run) work.run();
  } catch (const std::exception &error) {
    stand_in::fault(error.what());
    state().is_lost = true;
  }
  return true;
}

// Do what must be done, or, if a test wants it, one piece of work of every
// stream in turn.
CUresult carry_out(const MarkPointer &until) {
  while (!until->is_done) {
    if (state().is_lost) return CUDA_ERROR_ILLEGAL_ADDRESS;
    if (state().settings["interleaved"] != 0) {
      bool any = false;
      for (auto &[stream, queue] : state().streams) any = step(stream) || any;
      if (!any) return CUDA_ERROR_LAUNCH_TIMEOUT;
      continue;
    }
    if (step(until->stream)) continue;
    const auto &queue = state().streams[until->stream];
    if (queue.empty()) return CUDA_ERROR_LAUNCH_TIMEOUT;
    const MarkPointer other = queue.front().waits_for;
    if (const CUresult status = carry_out(other); status != CUDA_SUCCESS) return status;
  }
  return state().is_lost ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

CUdeviceptr allocate(std::size_t size, int device) {
  auto *whole = static_cast<std::uint8_t *>(std::malloc(size + kAlignment));
  std::memset(whole, kPoison, size + kAlignment);
  const auto address =
      (reinterpret_cast<CUdeviceptr>(whole) + kAlignment - 1) / kAlignment * kAlignment;
  state().memory[address] = {size, device, whole};
  return address;
}

CUresult release_memory(CUdeviceptr address, const char *kind) {
  const auto found = state().memory.find(address);
  if (found == state().memory.end()) return CUDA_ERROR_INVALID_VALUE;
  std::memset(reinterpret_cast<void *>(address), kPoison, found->second.size);
  std::free(found->second.whole);
  state().memory.erase(found);
  stand_in::release(kind);
  return CUDA_SUCCESS;
}

const Allocation *allocation_of(CUdeviceptr address) {
  auto found = state().memory.upper_bound(address);
  if (found == state().memory.begin()) return nullptr;
  --found;
  return address < found->first + found->second.size ? &found->second : nullptr;
}

std::uint8_t *pinned(const void *address, std::size_t size) {
  return stand_in::at(reinterpret_cast<CUdeviceptr>(address), size);
}

int device_of(CUcontext context) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(context)) - 1;
}

// A launch as the kernel carries it out: each block of rows and columns.
template <class Body>
void for_each_thread(unsigned columns, unsigned rows, int width, int height, const Body &body) {
  for (unsigned block = 0; block < rows; ++block) {
    for (int row = static_cast<int>(block); row < height; row += static_cast<int>(rows)) {
      for (unsigned thread = 0; thread < columns; ++thread) {
        if (static_cast<int>(thread) < width) body(static_cast<int>(thread), row);
      }
    }
  }
}

void check(const void *address) { stand_in::at(reinterpret_cast<CUdeviceptr>(address), 1); }

}  // namespace

namespace stand_in {

bool fails(const char *call) {
  const Lock lock(state().mutex);
  return planned(call) != CUDA_SUCCESS;
}

void enqueue(CUstream stream, std::function<void()> work) {
  const Lock lock(state().mutex);
  put(stream, {std::move(work), nullptr});
}

std::uint8_t *at(CUdeviceptr address, std::size_t size) {
  const Allocation *found = allocation_of(address);
  if (found == nullptr || allocation_of(address + size - 1) != found) {
    throw std::runtime_error("an access to memory that is not allocated");
  }
  return reinterpret_cast<std::uint8_t *>(address);
}

bool is_default(CUstream stream) { return reinterpret_cast<std::uintptr_t>(stream) <= 2; }

bool is_current() { return !contexts.empty(); }

void hold(const std::string &kind) {
  const Lock lock(state().mutex);
  ++state().held[kind];
}

void release(const std::string &kind) {
  const Lock lock(state().mutex);
  if (--state().held[kind] < 0) fault(kind + " released twice");
}

void fault(const std::string &what) {
  const Lock lock(state().mutex);
  state().faults += what + "; ";
}

std::int64_t setting(const char *name) {
  const Lock lock(state().mutex);
  return state().settings[name];
}

void pause(const std::string &call) {
  fails((call + " entered").c_str());  // counted
  while (setting(("pause " + call).c_str()) != 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace stand_in

extern "C" {

// For tests.

STAND_IN_API void stand_in_reset() {
  const Lock lock(state().mutex);
  State &here = state();
  for (auto &[address, allocation] : here.memory) std::free(allocation.whole);
  here.gpus.clear();
  here.memory.clear();
  here.streams.clear();
  here.events.clear();
  here.held.clear();
  here.calls.clear();
  here.plans.clear();
  here.settings.clear();
  here.faults.clear();
  here.is_lost = false;
  for (std::uintptr_t stream = 0; stream <= 2; ++stream)
    here.streams[reinterpret_cast<CUstream>(stream)];
}

STAND_IN_API void stand_in_add_gpu(const char *name, int major, int minor) {
  const Lock lock(state().mutex);
  state().gpus.push_back({name, major, minor});
}

// From the call after the `skipped` next ones on, a function returns this
// status; 0 ends that.
STAND_IN_API void stand_in_fail(const char *call, int status, int skipped) {
  const Lock lock(state().mutex);
  if (status == 0) {
    state().plans.erase(call);
  } else {
    state().plans[call] = {static_cast<CUresult>(status), skipped};
  }
}

STAND_IN_API void stand_in_set(const char *name, std::int64_t value) {
  const Lock lock(state().mutex);
  state().settings[name] = value;
}

STAND_IN_API int stand_in_calls(const char *call) {
  const Lock lock(state().mutex);
  return state().calls[call];
}

// What is not released, as text; valid until the next call.
STAND_IN_API const char *stand_in_held() {
  static std::string text;
  const Lock lock(state().mutex);
  text.clear();
  for (const auto &[kind, count] : state().held) {
    if (count != 0) text += std::to_string(count) + " " + kind + "; ";
  }
  return text.c_str();
}

STAND_IN_API const char *stand_in_faults() { return state().faults.c_str(); }

STAND_IN_API CUdeviceptr stand_in_allocate(std::size_t size, int device) {
  const Lock lock(state().mutex);
  return allocate(size, device);
}

STAND_IN_API CUstream stand_in_stream() {
  const Lock lock(state().mutex);
  const auto stream = reinterpret_cast<CUstream>(++state().last_handle);
  state().streams[stream];
  return stream;
}

// Copy from the host to the host in a stream: the source is read, and the
// target written, then.
STAND_IN_API void stand_in_copy(void *target, const void *source, std::size_t size,
                                CUstream stream) {
  stand_in::enqueue(stream, [=] { std::memcpy(target, source, size); });
}

STAND_IN_API int stand_in_synchronize(CUstream stream) {
  const Lock lock(state().mutex);
  return carry_out(mark(stream));
}

// CUDA's.

STAND_IN_API CUresult cuInit(unsigned) {
  ENTER("cuInit", false);
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDriverGetVersion(int *version) {
  ENTER("cuDriverGetVersion", false);
  *version = 13000;
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuGetErrorName(CUresult status, const char **name) {
  switch (status) {
    case CUDA_ERROR_OUT_OF_MEMORY:
      *name = "CUDA_ERROR_OUT_OF_MEMORY";
      break;
    case CUDA_ERROR_ILLEGAL_ADDRESS:
      *name = "CUDA_ERROR_ILLEGAL_ADDRESS";
      break;
    case CUDA_ERROR_INVALID_CONTEXT:
      *name = "CUDA_ERROR_INVALID_CONTEXT";
      break;
    case CUDA_ERROR_NO_DEVICE:
      *name = "CUDA_ERROR_NO_DEVICE";
      break;
    case CUDA_ERROR_UNKNOWN:
      *name = "CUDA_ERROR_UNKNOWN";
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDeviceGetCount(int *count) {
  ENTER("cuDeviceGetCount", false);
  *count = static_cast<int>(state().gpus.size());
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER("cuDeviceGet", false);
  *device = ordinal;
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  ENTER("cuDeviceGetName", false);
  std::strncpy(name, state().gpus.at(static_cast<std::size_t>(device)).name.c_str(),
               static_cast<std::size_t>(length));
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice device) {
  ENTER("cuDeviceGetAttribute", false);
  const Gpu &gpu = state().gpus.at(static_cast<std::size_t>(device));
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? gpu.major : gpu.minor;
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  ENTER("cuDevicePrimaryCtxRetain", false);
  stand_in::hold("context");
  *context = reinterpret_cast<CUcontext>(static_cast<std::uintptr_t>(device) + 1);
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuDevicePrimaryCtxRelease(CUdevice) {
  const Lock lock(state().mutex);
  stand_in::release("context");
  return planned("cuDevicePrimaryCtxRelease");
}

STAND_IN_API CUresult cuCtxPushCurrent(CUcontext context) {
  ENTER("cuCtxPushCurrent", false);
  contexts.push_back(context);
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuCtxPopCurrent(CUcontext *context) {
  if (contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *context = contexts.back();
  contexts.pop_back();
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuMemAlloc(CUdeviceptr *address, std::size_t size) {
  ENTER("cuMemAlloc", true);
  if (size == 0) return CUDA_ERROR_INVALID_VALUE;
  *address = allocate(size, device_of(contexts.back()));
  stand_in::hold("device memory");
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuMemFree(CUdeviceptr address) {
  ENTER("cuMemFree", true);
  return release_memory(address, "device memory");
}

STAND_IN_API CUresult cuMemHostAlloc(void **address, std::size_t size, unsigned) {
  ENTER("cuMemHostAlloc", true);
  if (size == 0) return CUDA_ERROR_INVALID_VALUE;
  *address = reinterpret_cast<void *>(allocate(size, -1));
  stand_in::hold("pinned memory");
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuMemFreeHost(void *address) {
  ENTER("cuMemFreeHost", true);
  return release_memory(reinterpret_cast<CUdeviceptr>(address), "pinned memory");
}

STAND_IN_API CUresult cuMemcpyHtoDAsync(CUdeviceptr target, const void *source, std::size_t size,
                                        CUstream stream) {
  ENTER("cuMemcpyHtoDAsync", true);
  put(stream,
      {[=] { std::memcpy(stand_in::at(target, size), pinned(source, size), size); }, nullptr});
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuMemcpyDtoHAsync(void *target, CUdeviceptr source, std::size_t size,
                                        CUstream stream) {
  ENTER("cuMemcpyDtoHAsync", true);
  put(stream,
      {[=] { std::memcpy(pinned(target, size), stand_in::at(source, size), size); }, nullptr});
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuPointerGetAttribute(void *value, CUpointer_attribute which,
                                            CUdeviceptr address) {
  ENTER("cuPointerGetAttribute", true);
  const Allocation *found = allocation_of(address);
  if (found == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (which == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) {
    *static_cast<unsigned *>(value) = found->device < 0 ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
  } else {
    *static_cast<int *>(value) = found->device;
  }
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  stand_in::pause("cuStreamCreate");
  ENTER("cuStreamCreate", true);
  if (flags != CU_STREAM_NON_BLOCKING)
    stand_in::fault("a stream that waits for the default stream");
  *stream = new_handle<CUstream>("stream");
  state().streams[*stream];
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuStreamSynchronize(CUstream stream) {
  ENTER("cuStreamSynchronize", true);
  return carry_out(mark(stream));
}

STAND_IN_API CUresult cuStreamDestroy(CUstream stream) {
  ENTER("cuStreamDestroy", true);
  carry_out(mark(stream));
  state().streams.erase(stream);
  stand_in::release("stream");
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  ENTER("cuStreamWaitEvent", true);
  const MarkPointer recorded = state().events.at(event);
  if (recorded) put(stream, {nullptr, recorded});
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuEventCreate(CUevent *event, unsigned) {
  ENTER("cuEventCreate", true);
  *event = new_handle<CUevent>("event");
  state().events[*event] = nullptr;
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuEventRecord(CUevent event, CUstream stream) {
  ENTER("cuEventRecord", true);
  state().events.at(event) = mark(stream);
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuEventSynchronize(CUevent event) {
  ENTER("cuEventSynchronize", true);
  const MarkPointer recorded = state().events.at(event);
  return recorded ? carry_out(recorded) : CUDA_SUCCESS;
}

STAND_IN_API CUresult cuEventDestroy(CUevent event) {
  ENTER("cuEventDestroy", true);
  state().events.erase(event);
  stand_in::release("event");
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  ENTER("cuModuleLoadData", true);
  const auto *text = static_cast<const char *>(image);
  for (const std::string &name : state().functions) {
    if (std::strstr(text, (".entry " + name + "(").c_str()) == nullptr) return CUDA_ERROR_UNKNOWN;
  }
  *module = new_handle<CUmodule>("module");
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuModuleUnload(CUmodule) {
  ENTER("cuModuleUnload", true);
  stand_in::release("module");
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name) {
  ENTER("cuModuleGetFunction", true);
  for (std::string &one : state().functions) {
    if (one == name) *function = reinterpret_cast<CUfunction>(&one);
  }
  return CUDA_SUCCESS;
}

STAND_IN_API CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                     unsigned grid_z, unsigned block_x, unsigned block_y,
                                     unsigned block_z, unsigned, CUstream stream, void **parameters,
                                     void **) {
  using dsunet_runtime::FrameView;
  using dsunet_runtime::MaskView;
  ENTER("cuLaunchKernel", true);
  if (grid_z != 1 || block_y != 1 || block_z != 1 || block_x > 1024 || grid_y > 65535 ||
      grid_x == 0 || grid_y == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const unsigned columns = grid_x * block_x;
  if (*reinterpret_cast<std::string *>(function) == dsunet_runtime::tensorrt::kConvert) {
    const FrameView frame = *static_cast<FrameView *>(parameters[0]);
    auto *rgb = *static_cast<std::uint8_t **>(parameters[1]);
    put(stream, {[=] {
                   for_each_thread(columns, grid_y, frame.width, frame.height, [&](int x, int y) {
                     check(frame.data + y * frame.stride + x);
                     check(rgb + 3 * (y * frame.width + x) + 2);
                     dsunet_runtime::tensorrt::convert_pixel(frame, rgb, x, y);
                   });
                 },
                 nullptr});
  } else {
    const auto *levels = *static_cast<const std::uint8_t **>(parameters[0]);
    const MaskView mask = *static_cast<MaskView *>(parameters[1]);
    const int width = *static_cast<std::int32_t *>(parameters[2]);
    const int height = *static_cast<std::int32_t *>(parameters[3]);
    put(stream, {[=] {
                   for_each_thread(columns, grid_y, width, height, [&](int x, int y) {
                     check(levels + y * width + x);
                     check(mask.data + y * mask.stride + x);
                     dsunet_runtime::tensorrt::write_level(levels, mask, width, x, y);
                   });
                 },
                 nullptr});
  }
  return CUDA_SUCCESS;
}

}  // extern "C"
