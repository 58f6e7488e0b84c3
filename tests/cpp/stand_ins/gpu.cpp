#include "gpu.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace stand_in {
namespace {

constexpr std::uint8_t kPoison = 0xDD;
constexpr std::size_t kAlignment = 256;

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
    fault(error.what());
    state().is_lost = true;
  }
  return true;
}

}  // namespace

State &state() {
  static State &one = *new State;
  return one;
}

thread_local std::vector<CUcontext> contexts;

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

void put(CUstream stream, Work work) {
  const auto found = state().streams.find(stream);
  if (found == state().streams.end()) return fault("work on a stream that does not exist");
  found->second.push_back(std::move(work));
}

MarkPointer mark(CUstream stream) {
  auto made = std::make_shared<Mark>(Mark{stream});
  put(stream, {[made] { made->is_done = true; }, nullptr});
  return made;
}

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
  release(kind);
  return CUDA_SUCCESS;
}

const Allocation *allocation_of(CUdeviceptr address) {
  auto found = state().memory.upper_bound(address);
  if (found == state().memory.begin()) return nullptr;
  --found;
  return address < found->first + found->second.size ? &found->second : nullptr;
}

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
