// Control of the stand-in of CUDA's driver, which __init__.py calls.

#include <cstdlib>
#include <cstring>

#include "gpu.hpp"

using namespace stand_in;

extern "C" {

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

// Let a function return this status after the next `skipped` calls; 0 ends that.
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

// Objects that are not released, as text; valid until the next call.
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

// Copy from the host to the host in a stream; memory is accessed when the work is done.
STAND_IN_API void stand_in_copy(void *target, const void *source, std::size_t size,
                                CUstream stream) {
  stand_in::enqueue(stream, [=] { std::memcpy(target, source, size); });
}

// The number of pieces of work that wait in streams.
STAND_IN_API int stand_in_waiting() {
  const Lock lock(state().mutex);
  std::size_t count = 0;
  for (const auto &[stream, queue] : state().streams) count += queue.size();
  return static_cast<int>(count);
}

STAND_IN_API int stand_in_synchronize(CUstream stream) {
  const Lock lock(state().mutex);
  return carry_out(mark(stream));
}

}  // extern "C"
