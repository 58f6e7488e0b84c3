#include "device_frames.hpp"

#include <algorithm>

#include "../../core/errors.hpp"
#include "kernels.hpp"

namespace dsunet_runtime::tensorrt {

// The text of kernels.cu in PTX; empty if this backend was built without nvcc.
extern const char *const kKernelsPtx;

namespace {

bool is_aligned(const void *address) {
  return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0;
}

// Whether TensorRT can read the frames where they are.
bool is_readable(const FrameView *frames, std::size_t count) {
  return are_one_block(frames, count) && is_aligned(frames->data);
}

// Whether TensorRT can write the masks where they should be.
bool is_writable(const FrameView *frames, const MaskView *masks, std::size_t count) {
  const auto has_levels = [](const MaskView &mask) { return mask.threshold == 0; };
  return are_one_block(masks, *frames, count) && std::all_of(masks, masks + count, has_levels) &&
         is_aligned(masks->data);
}

// The last byte of rows that are `stride` apart.
const std::uint8_t *last_byte(const std::uint8_t *data, std::ptrdiff_t stride, std::int32_t rows,
                              std::ptrdiff_t bytes) {
  return data + (rows - 1) * stride + bytes - 1;
}

}  // namespace

DeviceFrames::DeviceFrames(const Device &device, Execution &execution)
    : device_(device), execution_(execution), rgb_(device.driver()), levels_(device.driver()) {}

DeviceFrames::~DeviceFrames() {
  if (module_ != nullptr) device_.driver().cuModuleUnload(module_);
}

void DeviceFrames::enqueue(const FrameView *frames, const MaskView *masks, std::size_t count,
                           CUstream stream) {
  for (std::size_t index = 0; index < count; ++index) check_memory(frames[index], masks[index]);
  const FrameView &first = *frames;
  const std::size_t pixels = first.pixels();
  const bool reads_directly = is_readable(frames, count);
  const bool writes_directly = is_writable(frames, masks, count);
  const BatchShape shape{static_cast<std::int64_t>(count), first.height, first.width};
  execution_.enqueue(stream, [&](CUstream on) {
    prepare(reads_directly, writes_directly, pixels * count);
    for (std::size_t index = 0; index < count && !reads_directly; ++index) {
      FrameView frame = frames[index];
      std::uint8_t *rgb = rgb_.data() + 3 * pixels * index;
      void *parameters[] = {&frame, &rgb};
      launch(convert_, first, parameters, on);
    }
    execution_.run(
        shape, reads_directly ? reinterpret_cast<CUdeviceptr>(first.data) : rgb_.address(),
        writes_directly ? reinterpret_cast<CUdeviceptr>(masks->data) : levels_.address(), on);
    for (std::size_t index = 0; index < count && !writes_directly; ++index) {
      const std::uint8_t *levels = levels_.data() + pixels * index;
      MaskView mask = masks[index];
      std::int32_t width = first.width, height = first.height;
      void *parameters[] = {&levels, &mask, &width, &height};
      launch(write_, first, parameters, on);
    }
  });
}

void DeviceFrames::check_memory(const FrameView &frame, const MaskView &mask) const {
  const auto require = [this](const char *what, const std::uint8_t *first,
                              const std::uint8_t *last) {
    if (device_.holds(first) && device_.holds(last)) return;
    throw image_fault(std::string(what) + " is not in the memory of GPU " +
                      std::to_string(device_.gpu().index) + " (" + device_.gpu().name +
                      "): copy it there, or call dsunet_segment for frames in host memory");
  };
  const std::ptrdiff_t row = std::ptrdiff_t{bytes_per_pixel(frame.format)} * frame.width;
  require("a frame", frame.data, last_byte(frame.data, frame.stride, frame.height, row));
  if (frame.format == DSUNET_NV12) {
    const std::int32_t rows = (frame.y + frame.height + 1) / 2 - frame.y / 2;
    const std::ptrdiff_t bytes = (frame.x + std::ptrdiff_t{frame.width} + 1) / 2 * 2;
    require("the chroma of a frame", frame.chroma,
            last_byte(frame.chroma, frame.chroma_stride, rows, bytes));
  }
  require("a mask", mask.data, last_byte(mask.data, mask.stride, frame.height, frame.width));
}

// Kernels, and buffers of the size: after the first call of a size this does nothing.
void DeviceFrames::prepare(bool reads_directly, bool writes_directly, std::size_t pixels) {
  if (reads_directly && writes_directly) return;
  if (write_ == nullptr) load_kernels();
  const bool grows = (!reads_directly && rgb_.size() < 3 * pixels) ||
                     (!writes_directly && levels_.size() < pixels);
  if (!grows) return;
  execution_.synchronize();  // with earlier runs, which use the buffers
  if (!reads_directly) rgb_.reserve(3 * pixels);
  if (!writes_directly) levels_.reserve(pixels);
}

void DeviceFrames::load_kernels() {
  if (*kKernelsPtx == '\0') {
    throw backend_fault(
        "this backend was built without nvcc, so that frames and masks in GPU memory are not "
        "converted: build it with nvcc, or use RGB frames and masks without gaps, regions or "
        "thresholds, adjacent in memory from a multiple of " +
        std::to_string(kAlignment) + " bytes on");
  }
  const Driver &driver = device_.driver();
  const CUresult status =
      module_ == nullptr ? driver.cuModuleLoadData(&module_, kKernelsPtx) : CUDA_SUCCESS;
  if (status != CUDA_SUCCESS) {
    throw backend_fault("the kernels that convert frames in GPU memory cannot be loaded (" +
                        driver.name_of(status) + "): update the NVIDIA driver");
  }
  driver.require(driver.cuModuleGetFunction(&convert_, module_, kConvert), "cuModuleGetFunction");
  driver.require(driver.cuModuleGetFunction(&write_, module_, kWrite), "cuModuleGetFunction");
}

// One thread for each column of each row.
void DeviceFrames::launch(CUfunction kernel, const FrameView &size, void **parameters,
                          CUstream stream) const {
  const Driver &driver = device_.driver();
  const auto columns = static_cast<unsigned>((size.width + kThreads - 1) / kThreads);
  const auto rows = static_cast<unsigned>(std::min(size.height, kMostBlocksOfRows));
  driver.require(driver.cuLaunchKernel(kernel, columns, rows, 1, kThreads, 1, 1, 0, stream,
                                       parameters, nullptr),
                 "cuLaunchKernel");
}

}  // namespace dsunet_runtime::tensorrt
