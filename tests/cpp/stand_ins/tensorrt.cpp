// A stand-in of TensorRT on that of CUDA's driver, with the arithmetic of
// tests/runtime/artifacts.py.
//
// An engine is a JSON document (tests/runtime/fake_tensorrt.py).  Its context reads and writes
// device memory when the stream comes to it, in two steps with an intermediate result of the
// context, so that two runs that are not ordered give wrong results.

#include <NvInferRuntime.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "stand_in.hpp"
#include "unused.hpp"

namespace {

using namespace nvinfer1;
using Json = nlohmann::json;
using stand_in::fails;

ILogger *the_log = nullptr;

// An object that must be released, with the device current.
class Held {
 public:
  explicit Held(std::string kind) : kind_(std::move(kind)) {
    if (!stand_in::is_current()) stand_in::fault(kind_ + " made without a context");
    stand_in::hold(kind_);
  }
  ~Held() {
    if (!stand_in::is_current()) stand_in::fault(kind_ + " released without a context");
    if (users_ != 0) stand_in::fault(kind_ + " released before what uses it");
    stand_in::release(kind_);
  }
  Held(const Held &) = delete;
  Held &operator=(const Held &) = delete;

 private:
  friend class Use;

  std::string kind_;
  int users_ = 0;
};

// A use of an object, which must be released after its user.
class Use {
 public:
  explicit Use(Held &held) : held_(held) { ++held_.users_; }
  ~Use() { --held_.users_; }
  Use(const Use &) = delete;
  Use &operator=(const Use &) = delete;

 private:
  Held &held_;
};

void log_error(const char *message) {
  the_log->log(ILogger::Severity::kINFO, "all is well");
  the_log->log(ILogger::Severity::kERROR, message);
  the_log->log(ILogger::Severity::kERROR, "and more");
}

Dims dims_of(const Json &sizes) {
  Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(sizes.size());
  for (std::size_t index = 0; index < sizes.size(); ++index) dims.d[index] = sizes[index];
  return dims;
}

#if defined(TRT_MAJOR_RTX)

class HostMemory : public IHostMemory, public apiv::VHostMemory {
 public:
  explicit HostMemory(std::string content) : held_("host memory"), content_(std::move(content)) {
    mImpl = this;
  }
  void *data() const noexcept override { return const_cast<char *>(content_.data()); }
  std::size_t size() const noexcept override { return content_.size(); }
  DataType type() const noexcept override { return DataType::kUINT8; }

 private:
  Held held_;
  std::string content_;
};

class Cache : public IRuntimeCache, public apiv::UnusedRuntimeCache {
 public:
  Cache() { mImpl = this; }
  IHostMemory *serialize() const noexcept override {
    if (kernels_.empty()) return nullptr;
    std::string text = "kernels:";
    for (const std::string &kernel : kernels_) text += kernel + ";";
    return new HostMemory(text);
  }
  bool deserialize(const void *data, std::size_t size) noexcept override {
    const std::string text(static_cast<const char *>(data), size);
    if (text.rfind("kernels:", 0) != 0) return false;
    for (std::size_t at = 8, end; (end = text.find(';', at)) != std::string::npos; at = end + 1) {
      kernels_.push_back(text.substr(at, end - at));
    }
    return true;
  }
  void compile(const std::string &kernel) {
    if (std::find(kernels_.begin(), kernels_.end(), kernel) != kernels_.end()) return;
    fails("compile");  // counted
    kernels_.push_back(kernel);
  }

  Held held{"cache"};

 private:
  std::vector<std::string> kernels_;
};

class Config : public IRuntimeConfig, public apiv::UnusedRuntimeConfig {
 public:
  Config() { mImpl = this; }
  IRuntimeCache *createRuntimeCache() const noexcept override { return new Cache; }
  bool setRuntimeCache(const IRuntimeCache &cache) noexcept override {
    cache_ = const_cast<Cache *>(static_cast<const Cache *>(&cache));
    return !fails("setRuntimeCache");
  }
  bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept override {
    return strategy == CudaGraphStrategy::kWHOLE_GRAPH_CAPTURE;
  }
  Cache *cache() const { return cache_; }

  Held held{"configuration"};

 private:
  Cache *cache_ = nullptr;
};

#else

class Config {};

#endif

class Context : public IExecutionContext, public apiv::UnusedExecutionContext {
 public:
  Context(Held &engine, const Json &document, IRuntimeConfig *config)
      : document_(document), uses_engine_(engine) {
    mImpl = this;
#if defined(TRT_MAJOR_RTX)
    config_ = static_cast<Config *>(config);
    config_->cache()->compile("context");
    uses_config_ = std::make_unique<Use>(config_->held);
    uses_cache_ = std::make_unique<Use>(config_->cache()->held);
#else
    (void)config;
#endif
  }

  bool setInputShape(const char *name, const Dims &dims) noexcept override {
    const Json &profile = document_["tensors"][name]["profile"];
    bool fits = !fails("setInputShape");
    for (std::int32_t axis = 0; axis < dims.nbDims; ++axis) {
      fits = fits && profile[0][axis] <= dims.d[axis] && dims.d[axis] <= profile[2][axis];
    }
    if (!fits) log_error("the shape\nfailed");
    shape_ = fits ? dims : Dims{};
    return fits;
  }

  bool setTensorAddress(const char *name, void *address) noexcept override {
    addresses_[name] = reinterpret_cast<CUdeviceptr>(address);
    return addresses_[name] % 256 == 0;
  }

  bool enqueueV3(cudaStream_t stream) noexcept override {
    if (!stand_in::is_current()) stand_in::fault("a run without a context");
    if (stand_in::is_default(stream)) stand_in::fault("a run on a default stream");
    if (is_in_use_.exchange(true)) stand_in::fault("two threads in one context");
    stand_in::pause("enqueueV3");
    if (stand_in::setting("slow") != 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    is_in_use_ = false;
    if (fails("enqueueV3")) {
      log_error("the kernel\nfailed");
      return false;
    }
#if defined(TRT_MAJOR_RTX)
    config_->cache()->compile(std::to_string(shape_.d[1]) + "x" + std::to_string(shape_.d[2]));
#endif
    const auto pixels = static_cast<std::size_t>(shape_.d[0] * shape_.d[1] * shape_.d[2]);
    const CUdeviceptr image = addresses_["image"], mask = addresses_["mask"];
    stand_in::enqueue(stream,
                      [this, image, pixels] { read(stand_in::at(image, 3 * pixels), pixels); });
    stand_in::enqueue(stream, [this, mask, pixels] { write(stand_in::at(mask, pixels), pixels); });
    return true;
  }

 private:
  void read(const std::uint8_t *rgb, std::size_t pixels) {
    if (!intermediate_.empty()) stand_in::fault("two runs at once");
    const std::array<double, 3> weights = document_["weights"];
    for (std::size_t index = 0; index < pixels; ++index) {
      const std::uint8_t *pixel = rgb + 3 * index;
      const double sum = weights[0] * pixel[0] + weights[1] * pixel[1] + weights[2] * pixel[2];
      intermediate_.push_back(static_cast<std::uint8_t>(sum));
    }
  }

  void write(std::uint8_t *mask, std::size_t pixels) {
    if (intermediate_.size() != pixels) stand_in::fault("two runs at once");
    intermediate_.resize(pixels);
    std::copy(intermediate_.begin(), intermediate_.end(), mask);
    intermediate_.clear();
  }

  Held held_{"execution context"};
  const Json &document_;
  Use uses_engine_;
  Config *config_ = nullptr;
  std::unique_ptr<Use> uses_config_, uses_cache_;
  Dims shape_{};
  std::atomic<bool> is_in_use_{false};
  std::map<std::string, CUdeviceptr> addresses_;
  std::vector<std::uint8_t> intermediate_;
};

class CudaEngine : public ICudaEngine, public apiv::UnusedCudaEngine {
 public:
  explicit CudaEngine(Json document) : document_(std::move(document)) {
    mImpl = this;
    for (const auto &[name, tensor] : document_["tensors"].items()) names_.push_back(name);
  }

  std::int32_t getNbIOTensors() const noexcept override {
    return static_cast<std::int32_t>(names_.size());
  }
  const char *getIOTensorName(std::int32_t index) const noexcept override {
    return names_[static_cast<std::size_t>(index)].c_str();
  }
  TensorIOMode getTensorIOMode(const char *name) const noexcept override {
    const Json *tensor = find(name);
    if (tensor == nullptr) return TensorIOMode::kNONE;
    return (*tensor)["mode"] == "INPUT" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  }
  DataType getTensorDataType(const char *name) const noexcept override {
    return (*find(name))["dtype"] == "uint8" ? DataType::kUINT8 : DataType::kFLOAT;
  }
  Dims getTensorShape(const char *name) const noexcept override {
    return dims_of((*find(name))["shape"]);
  }
  Dims getProfileShape(const char *name, std::int32_t profile,
                       OptProfileSelector which) const noexcept override {
    if (profile != 0) stand_in::fault("another profile");
    return dims_of((*find(name))["profile"][static_cast<std::size_t>(which)]);
  }

  IExecutionContext *createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
    return create(nullptr);
  }
  IExecutionContext *createExecutionContextWithRuntimeConfig(
      IRuntimeConfig *config) noexcept override {
    return create(config);
  }
#if defined(TRT_MAJOR_RTX)
  IRuntimeConfig *createRuntimeConfig() noexcept override { return new Config; }
#endif

 private:
  IExecutionContext *create(IRuntimeConfig *config) {
    if (!fails("createExecutionContext")) return new Context(held_, document_, config);
    log_error("out of\nmemory");
    return nullptr;
  }

  const Json *find(const std::string &name) const {
    const auto found = document_["tensors"].find(name);
    return found == document_["tensors"].end() ? nullptr : &*found;
  }

  Held held_{"engine"};
  Json document_;
  std::vector<std::string> names_;
};

class Runtime : public IRuntime, public apiv::UnusedRuntime {
 public:
  Runtime() { mImpl = this; }

  ICudaEngine *deserializeCudaEngine(const void *blob, std::size_t size) noexcept override {
    const auto *text = static_cast<const char *>(blob);
    Json document = Json::parse(text, text + size, nullptr, false);
    if (!fails("deserializeCudaEngine") && document.is_object() &&
        document["magic"] == "fake engine") {
      return new CudaEngine(std::move(document));
    }
    log_error("magicTag\nfailed");
    return nullptr;
  }

#if defined(TRT_MAJOR_RTX)
  EngineValidity getEngineValidity(const void *, std::int64_t,
                                   std::uint64_t *diagnostics) const noexcept override {
    *diagnostics = static_cast<std::uint64_t>(stand_in::setting("diagnostics"));
    return static_cast<EngineValidity>(stand_in::setting("validity"));
  }
#endif

 private:
  Held held_{"runtime"};
};

}  // namespace

extern "C" {

void *createInferRuntime_INTERNAL(void *logger, std::int32_t version) noexcept {
  if (version != NV_TENSORRT_VERSION) stand_in::fault("another version of the headers");
  the_log = static_cast<ILogger *>(logger);
  if (!fails("createInferRuntime")) return static_cast<IRuntime *>(new Runtime);
  log_error("CUDA\nfailed");
  return nullptr;
}

std::int32_t getInferLibMajorVersion() noexcept { return NV_TENSORRT_MAJOR; }
std::int32_t getInferLibMinorVersion() noexcept { return NV_TENSORRT_MINOR; }
std::int32_t getInferLibPatchVersion() noexcept { return NV_TENSORRT_PATCH; }
std::int32_t getInferLibBuildVersion() noexcept { return NV_TENSORRT_BUILD; }

}  // extern "C"
