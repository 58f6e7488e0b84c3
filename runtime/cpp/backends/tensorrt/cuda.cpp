#include "cuda.hpp"

#include <array>
#include <utility>

#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"

namespace dsunet_runtime::tensorrt {
namespace {

constexpr const char *kVariable = "DSUNET_CUDA_LIBRARY";
#if defined(_WIN32)
constexpr const char *kLibrary = "nvcuda.dll";
#else
constexpr const char *kLibrary = "libcuda.so.1";
#endif

Fault no_driver(const std::string &reason) {
  return backend_fault("no working NVIDIA driver: install one that supports the GPU (" +
                       printable(reason) + ")");
}

SharedLibrary loaded() {
  try {
    return SharedLibrary(environment(kVariable).value_or(kLibrary));
  } catch (const FileError &error) {
    throw no_driver(error.what());
  }
}

template <class Function>
void find(const SharedLibrary &library, const char *name, Function *&function) {
  function = library.function<Function>(name);
  if (function == nullptr) throw no_driver(std::string("it has no function ") + name);
}

}  // namespace

const char *const kMemoryRemedy =
    "stop other processes on the GPU, or build the engine with a smaller `--batch` or `--size`";

Driver::Driver() : library_(loaded()) {
#define DSUNET_TEXT(name) #name
#define DSUNET_FIND(name) find(library_, DSUNET_TEXT(name), name);
  DSUNET_FOR_EACH_CUDA_FUNCTION(DSUNET_FIND)
#undef DSUNET_FIND
#undef DSUNET_TEXT
  const CUresult status = cuInit(0);
  if (status != CUDA_SUCCESS) throw no_driver(name_of(status));
}

std::string Driver::name_of(CUresult status) const {
  const char *name = nullptr;
  return cuGetErrorName(status, &name) == CUDA_SUCCESS && name != nullptr
             ? name
             : "error " + std::to_string(static_cast<int>(status));
}

void Driver::require(CUresult status, const char *function) const {
  if (status == CUDA_SUCCESS) return;
  if (status == CUDA_ERROR_OUT_OF_MEMORY) {
    throw backend_fault(std::string("not enough free GPU memory: ") + kMemoryRemedy);
  }
  throw backend_fault(std::string("CUDA failed: ") + function + ": " + name_of(status));
}

std::string Driver::version() const {
  int number = 0;
  require(cuDriverGetVersion(&number), "cuDriverGetVersion");
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

std::vector<Gpu> find_gpus(const Driver &driver) {
  int count = 0;
  driver.require(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
  std::vector<Gpu> gpus;
  for (int index = 0; index < count; ++index) {
    CUdevice device = 0;
    driver.require(driver.cuDeviceGet(&device, index), "cuDeviceGet");
    std::array<char, 256> name{};
    driver.require(driver.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device),
                   "cuDeviceGetName");
    int major = 0, minor = 0;
    for (const auto &[number, attribute] :
         {std::pair(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
          std::pair(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)}) {
      driver.require(driver.cuDeviceGetAttribute(number, attribute, device),
                     "cuDeviceGetAttribute");
    }
    gpus.push_back({index, name.data(), std::to_string(major) + "." + std::to_string(minor)});
  }
  return gpus;
}

Device::Device(const Driver &driver, Gpu gpu) : driver_(driver), gpu_(std::move(gpu)) {
  driver_.require(driver_.cuDeviceGet(&device_, gpu_.index), "cuDeviceGet");
  driver_.require(driver_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

Device::~Device() { driver_.cuDevicePrimaryCtxRelease(device_); }

bool Device::holds(const void *address) const {
  const auto pointer = reinterpret_cast<CUdeviceptr>(address);
  unsigned kind = 0;
  // Fails for memory of the host that CUDA has not allocated.
  if (driver_.cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer) !=
          CUDA_SUCCESS ||
      kind != CU_MEMORYTYPE_DEVICE) {
    return false;
  }
  int ordinal = -1;
  driver_.require(
      driver_.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer),
      "cuPointerGetAttribute");
  return ordinal == gpu_.index;
}

CurrentContext::CurrentContext(const Device &device) : driver_(device.driver()), is_pushed_(true) {
  driver_.require(driver_.cuCtxPushCurrent(device.context()), "cuCtxPushCurrent");
}

CurrentContext::CurrentContext(const Device &device, std::nothrow_t) noexcept
    : driver_(device.driver()),
      is_pushed_(driver_.cuCtxPushCurrent(device.context()) == CUDA_SUCCESS) {}

CurrentContext::~CurrentContext() {
  CUcontext context = nullptr;
  if (is_pushed_) driver_.cuCtxPopCurrent(&context);
}

Stream::Stream(const Driver &driver) : driver_(driver) {
  driver_.require(driver_.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
}

Stream::~Stream() { driver_.cuStreamDestroy(stream_); }

Event::Event(const Driver &driver) : driver_(driver) {
  driver_.require(driver_.cuEventCreate(&event_, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC),
                  "cuEventCreate");
}

Event::~Event() { driver_.cuEventDestroy(event_); }

void Event::record(CUstream stream) const {
  driver_.require(driver_.cuEventRecord(event_, stream), "cuEventRecord");
}

void Event::wait(CUstream stream) const {
  driver_.require(driver_.cuStreamWaitEvent(stream, event_, 0), "cuStreamWaitEvent");
}

void Event::synchronize() const {
  driver_.require(driver_.cuEventSynchronize(event_), "cuEventSynchronize");
}

void DeviceMemory::reserve(std::size_t size) {
  if (size <= size_) return;
  release();
  driver_.require(driver_.cuMemAlloc(&address_, size), "cuMemAlloc");
  size_ = size;
}

void DeviceMemory::release() noexcept {
  if (size_ != 0) driver_.cuMemFree(address_);
  size_ = 0;
  address_ = 0;
}

void PinnedMemory::reserve(std::size_t size) {
  if (size <= size_) return;
  release();
  driver_.require(driver_.cuMemHostAlloc(&data_, size, 0), "cuMemHostAlloc");
  size_ = size;
}

void PinnedMemory::release() noexcept {
  if (size_ != 0) driver_.cuMemFreeHost(data_);
  size_ = 0;
  data_ = nullptr;
}

}  // namespace dsunet_runtime::tensorrt
