// One flavor of TensorRT.  CMake defines DSUNET_SDK, the name of what this file defines, and gives
// the namespace nvinfer1 another name for each flavor, so that their inline functions are not
// merged.

#include "engine.hpp"

#include <NvInferRuntime.h>

#include <algorithm>
#include <array>
#include <set>

#include "../../core/artifact/shapes.hpp"
#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"
#include "compatibility.hpp"
#include "cuda.hpp"

namespace dsunet_runtime::tensorrt {

extern const Sdk DSUNET_SDK;

namespace {

constexpr const char *kImage = "image";
constexpr const char *kMask = "mask";

// `dsunet-export trt` builds engines with one profile.
constexpr int kProfile = 0;

// TensorRT's log.  It prints nothing, and keeps the first error of each thread: TensorRT reports in
// the thread that called it.
class Log : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char *message) noexcept override {
    if (severity > Severity::kERROR) return;
    try {
      std::string &first = error();
      if (first.empty()) first = printable(message);
    } catch (...) {
      return;  // out of memory
    }
  }

  // Call before an operation.
  void clear() { error().clear(); }

  // The first error of the operation, on one line.
  std::string reason() { return error().empty() ? "no reason given" : error(); }

 private:
  static std::string &error() {
    thread_local std::string first;
    return first;
  }
};

// TensorRT uses the first log of a process for everything, also while the process ends.
Log &the_log() {
  static Log &log = *new Log;
  return log;
}

void require(bool succeeded) {
  if (!succeeded) throw backend_fault("TensorRT failed: " + the_log().reason());
}

nvinfer1::Dims dims_of(const BatchShape &shape, bool has_colours) {
  nvinfer1::Dims dims{};
  dims.nbDims = has_colours ? 4 : 3;
  dims.d[0] = shape.count;
  dims.d[1] = shape.height;
  dims.d[2] = shape.width;
  if (has_colours) dims.d[3] = 3;
  return dims;
}

std::vector<std::int64_t> sizes_of(const nvinfer1::Dims &dims) {
  return dims.nbDims < 0 ? std::vector<std::int64_t>{}
                         : std::vector<std::int64_t>(dims.d, dims.d + dims.nbDims);
}

bool has_tensor(const nvinfer1::ICudaEngine &engine, const TensorSpec &spec,
                nvinfer1::TensorIOMode mode) {
  const char *name = spec.name.c_str();
  return engine.getTensorIOMode(name) == mode &&
         engine.getTensorDataType(name) == nvinfer1::DataType::kUINT8 &&
         sizes_of(engine.getTensorShape(name)).size() == spec.shape.size();
}

// Whether the engine's profile for an input has exactly these ranges.
bool takes(const nvinfer1::ICudaEngine &engine, const char *name,
           const std::vector<Range> &ranges) {
  using Selector = nvinfer1::OptProfileSelector;
  const std::vector<std::int64_t> sizes = sizes_of(engine.getTensorShape(name));
  const bool is_static = std::find(sizes.begin(), sizes.end(), -1) == sizes.end();
  const auto is_end = [&](Selector which, std::int64_t Range::*end) {
    std::vector<std::int64_t> wanted;
    for (const Range &range : ranges) wanted.push_back(range.*end);
    return wanted == (is_static ? sizes : sizes_of(engine.getProfileShape(name, kProfile, which)));
  };
  return is_end(Selector::kMIN, &Range::minimum) && is_end(Selector::kOPT, &Range::optimum) &&
         is_end(Selector::kMAX, &Range::maximum);
}

void check_tensors(const nvinfer1::ICudaEngine &engine, const Artifact &artifact) {
  const TensorSpec &image = artifact.manifest.inputs.at(0), &mask = artifact.manifest.outputs.at(0);
  std::set<std::string> names;
  for (int index = 0; index < engine.getNbIOTensors(); ++index) {
    names.insert(engine.getIOTensorName(index));
  }
  const bool fits = names == std::set<std::string>{kImage, kMask} &&
                    has_tensor(engine, image, nvinfer1::TensorIOMode::kINPUT) &&
                    has_tensor(engine, mask, nvinfer1::TensorIOMode::kOUTPUT) &&
                    takes(engine, kImage, input_ranges(artifact.manifest, image));
  if (!fits) {
    throw artifact_fault(
        artifact.path +
        ": its inputs and outputs differ from those in its manifest: build it again: " +
        rebuild_command(artifact));
  }
}

#if defined(TRT_MAJOR_RTX)

// TensorRT for RTX reports whether an engine can run.
void check_validity(nvinfer1::IRuntime &runtime, const MappedFile &content,
                    const Artifact &artifact) {
  using Cause = nvinfer1::EngineInvalidityDiagnostics;
  constexpr std::array<std::pair<Cause, const char *>, 7> kCauses{
      {{Cause::kCUDA_ERROR, "cuda error"},
       {Cause::kINSUFFICIENT_GPU_MEMORY, "insufficient gpu memory"},
       {Cause::kMALFORMED_ENGINE, "malformed engine"},
       {Cause::kOLD_CUDA_DRIVER, "old cuda driver"},
       {Cause::kOLD_CUDA_RUNTIME, "old cuda runtime"},
       {Cause::kUNSUPPORTED_CC, "unsupported cc"},
       {Cause::kVERSION_MISMATCH, "version mismatch"}}};
  std::uint64_t found = 0;
  const auto validity =
      runtime.getEngineValidity(content.data(), static_cast<std::int64_t>(content.size()), &found);
  if (validity != nvinfer1::EngineValidity::kINVALID) return;
  const auto has = [found](Cause cause) {
    return (found & static_cast<std::uint64_t>(cause)) != 0;
  };
  std::vector<std::string> reasons;
  for (const auto &[cause, words] : kCauses) {
    if (has(cause)) reasons.emplace_back(words);
  }
  std::string remedy = "build it again: " + rebuild_command(artifact);
  if (has(Cause::kINSUFFICIENT_GPU_MEMORY)) {
    remedy = kMemoryRemedy;
  } else if (has(Cause::kOLD_CUDA_DRIVER) || has(Cause::kOLD_CUDA_RUNTIME) ||
             has(Cause::kCUDA_ERROR)) {
    remedy = "update the NVIDIA driver";
  }
  throw backend_fault(artifact.path + ": cannot run on this machine (" +
                      (reasons.empty() ? "no reason given" : join(reasons, ", ")) + "): " + remedy);
}

#else

void check_validity(nvinfer1::IRuntime &, const MappedFile &, const Artifact &) {}

#endif

class EngineOfSdk : public LoadedEngine {
 public:
  EngineOfSdk(const Artifact &artifact, const SharedLibrary &library,
              const std::string &compiled_kernels) {
    Log &log = the_log();
    log.clear();
    const auto create =
        library.function<void *(void *, std::int32_t)>("createInferRuntime_INTERNAL");
    runtime_.reset(static_cast<nvinfer1::IRuntime *>(create(&log, NV_TENSORRT_VERSION)));
    if (runtime_ == nullptr) {
      throw backend_fault(artifact.path + ": TensorRT does not start: " + log.reason());
    }
    load(artifact);
    check_tensors(*engine_, artifact);
    create_context(compiled_kernels);
    if (context_ == nullptr) {
      throw backend_fault(artifact.path +
                          ": TensorRT cannot create an execution context: " + log.reason());
    }
  }

  void set_shape(const BatchShape &shape) override {
    the_log().clear();
    require(context_->setInputShape(kImage, dims_of(shape, true)));
  }

  void enqueue(CUdeviceptr image, CUdeviceptr mask, CUstream stream) override {
    the_log().clear();
    require(context_->setTensorAddress(kImage, reinterpret_cast<void *>(image)));
    require(context_->setTensorAddress(kMask, reinterpret_cast<void *>(mask)));
    require(context_->enqueueV3(stream));
  }

  std::string compiled_kernels() const override {
#if defined(TRT_MAJOR_RTX)
    const std::unique_ptr<nvinfer1::IHostMemory> content(cache_->serialize());
    if (content == nullptr) return "";
    return {static_cast<const char *>(content->data()), content->size()};
#else
    return "";
#endif
  }

 private:
  void load(const Artifact &artifact) {
    try {
      const MappedFile content(artifact.path);
      check_validity(*runtime_, content, artifact);
      the_log().clear();
      engine_.reset(runtime_->deserializeCudaEngine(content.data(), content.size()));
    } catch (const FileError &error) {
      throw artifact_fault(artifact.path + ": " + error.what());
    }
    if (engine_ == nullptr) {
      throw backend_fault(artifact.path + ": TensorRT cannot load it: " + the_log().reason());
    }
  }

#if defined(TRT_MAJOR_RTX)
  void create_context(const std::string &compiled_kernels) {
    the_log().clear();
    config_.reset(engine_->createRuntimeConfig());
    require(config_ != nullptr);
    // TensorRT for RTX then records CUDA graphs itself, also for new shapes.
    require(config_->setCudaGraphStrategy(nvinfer1::CudaGraphStrategy::kWHOLE_GRAPH_CAPTURE));
    cache_.reset(config_->createRuntimeCache());
    require(cache_ != nullptr);
    // It rejects kernels of another GPU, driver or release, and compiles them again.
    if (!compiled_kernels.empty()) {
      (void)cache_->deserialize(compiled_kernels.data(), compiled_kernels.size());
    }
    require(config_->setRuntimeCache(*cache_));
    the_log().clear();
    context_.reset(engine_->createExecutionContext(config_.get()));
  }
#else
  void create_context(const std::string &) {
    the_log().clear();
    context_.reset(engine_->createExecutionContext());
  }
#endif

  // Released from the last to the first: TensorRT requires that configuration and cache outlive the
  // context.
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
#if defined(TRT_MAJOR_RTX)
  std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
  std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
#endif
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

std::unique_ptr<LoadedEngine> open(const Artifact &artifact, const SharedLibrary &library,
                                   const std::string &compiled_kernels) {
  return std::make_unique<EngineOfSdk>(artifact, library, compiled_kernels);
}

}  // namespace

const Sdk DSUNET_SDK{NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, open};

}  // namespace dsunet_runtime::tensorrt
