// A stand-in of CUDA's driver on host memory; work is done when a thread waits for it: see gpu.hpp.

#include <cstring>

#include "gpu.hpp"

using namespace stand_in;

#define ENTER(call, needs_context) \
  const Lock lock(state().mutex);  \
  if (const CUresult status = entered(call, needs_context); status != CUDA_SUCCESS) return status

namespace {

template <class Handle>
Handle new_handle(const char *kind) {
  stand_in::hold(kind);
  return reinterpret_cast<Handle>(++state().last_handle);
}

std::uint8_t *pinned(const void *address, std::size_t size) {
  return stand_in::at(reinterpret_cast<CUdeviceptr>(address), size);
}

int device_of(CUcontext context) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(context)) - 1;
}

// Call the body for each thread of a launch, as the kernel does.
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

extern "C" {

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
