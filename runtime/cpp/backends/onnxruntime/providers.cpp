#include "providers.hpp"

#include <array>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/sha256.hpp"
#include "../../core/text.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

constexpr std::uint32_t kPluginApi = 22;

// Official names by those of this project.
constexpr std::array<std::pair<const char *, const char *>, 4> kNames{
    {{"cpu", "CPUExecutionProvider"},
     {"cuda", "CUDAExecutionProvider"},
     {"tensorrt", "TensorrtExecutionProvider"},
     {"rtx", "NvTensorRTRTXExecutionProvider"}}};

// Options of a provider as two arrays, as the C API takes them.
struct Settings {
  std::vector<const char *> keys, values;

  void add(const char *key, const char *value) {
    keys.push_back(key);
    values.push_back(value);
  }
};

Fault not_started(const std::string &name, const std::string &reason) {
  const bool is_tensorrt = name == "tensorrt";
  return backend_fault(
      "the provider '" + name +
      "' did not start: it needs an NVIDIA GPU with its driver and the CUDA and cuDNN" +
      (is_tensorrt ? " and TensorRT" : "") + " libraries that fit this ONNX Runtime (" +
      printable(reason) + ")");
}

void check_present(const Library &library, const std::string &name) {
  char **names = nullptr;
  int count = 0;
  library.require(library->GetAvailableProviders(&names, &count));
  std::vector<std::string> found;
  bool is_present = false;
  for (int index = 0; index < count; ++index) {
    for (const auto &[ours, official] : kNames) {
      if (std::string(names[index]) == official) found.emplace_back(ours);
    }
    is_present = is_present || names[index] == official_name(name);
  }
  library.require(library->ReleaseAvailableProviders(names, count));
  if (!is_present) {
    throw backend_fault("ONNX Runtime " + library.version() + " has no provider '" + name +
                        "', only " + join(found, ", ") + ": use the library of onnxruntime-gpu");
  }
}

// The folder beside the artifact in which a provider keeps what it compiles; empty if it cannot be
// used.  It is made when the provider is known to be there.
std::string cache_folder(const ProviderRequest &request) {
  const Artifact &artifact = request.artifact;
  const Manifest &manifest = artifact.manifest;
  // Libraries identify what they compiled by names, not by weights.
  std::string digests = manifest.graph.sha256;
  for (const FileDigest &file : manifest.files) digests += file.sha256;
  const std::string content = manifest.files.empty() ? digests : sha256_of(digests);
  const std::string folder = artifact.path + "." + content.substr(0, 16) + "." + request.name;
  return own_folder(folder) ? folder : "";
}

// The graph defines the precision: float32 is not computed in TF32, whose mantissa of 10 bits is
// too short for exact resampling of frames.
void add_cuda(const Library &library, OrtSessionOptions *options, const std::string &device) {
  OrtCUDAProviderOptionsV2 *raw = nullptr;
  library.require(library->CreateCUDAProviderOptions(&raw));
  const Owned<OrtCUDAProviderOptionsV2> cuda(raw, library->ReleaseCUDAProviderOptions);
  Settings settings;
  settings.add("use_tf32", "0");
  settings.add("device_id", device.c_str());
  library.require(library->UpdateCUDAProviderOptions(raw, settings.keys.data(),
                                                     settings.values.data(), settings.keys.size()));
  const std::string reason =
      library.message_of(library->SessionOptionsAppendExecutionProvider_CUDA_V2(options, raw));
  if (!reason.empty()) throw not_started("cuda", reason);
}

void add_tensorrt(const Library &library, OrtSessionOptions *options, const std::string &device,
                  const ProviderRequest &request) {
  OrtTensorRTProviderOptionsV2 *raw = nullptr;
  library.require(library->CreateTensorRTProviderOptions(&raw));
  const Owned<OrtTensorRTProviderOptionsV2> tensorrt(raw, library->ReleaseTensorRTProviderOptions);
  Settings settings;
  settings.add("device_id", device.c_str());
  const std::string cache = cache_folder(request);
  if (!cache.empty()) {
    settings.add("trt_engine_cache_enable", "1");
    settings.add("trt_engine_cache_path", cache.c_str());
    settings.add("trt_timing_cache_enable", "1");
    settings.add("trt_timing_cache_path", cache.c_str());
  }
  library.require(library->UpdateTensorRTProviderOptions(
      raw, settings.keys.data(), settings.values.data(), settings.keys.size()));
  const std::string reason =
      library.message_of(library->SessionOptionsAppendExecutionProvider_TensorRT_V2(options, raw));
  if (!reason.empty()) throw not_started("tensorrt", reason);
}

#if ORT_API_VERSION >= 22

constexpr const char *kPluginVariable = "DSUNET_RTX_PROVIDER_LIBRARY";

std::vector<const OrtEpDevice *> devices_of_plugin(const Library &library, OrtEnv *env) {
  const OrtEpDevice *const *devices = nullptr;
  std::size_t count = 0;
  library.require(library->GetEpDevices(env, &devices, &count));
  std::vector<const OrtEpDevice *> found;
  for (std::size_t index = 0; index < count; ++index) {
    if (library->EpDevice_EpName(devices[index]) == official_name("rtx")) {
      found.push_back(devices[index]);
    }
  }
  return found;
}

void add_plugin(const Library &library, OrtEnv *env, OrtSessionOptions *options,
                const ProviderRequest &request) {
  if (!library.has_api(kPluginApi)) {
    throw backend_fault("the provider 'rtx' needs ONNX Runtime 1.22 or later, and " +
                        library.version() + " is loaded: install a later one");
  }
  auto devices = devices_of_plugin(library, env);
  if (devices.empty()) {
    const std::string path =
        request.plugin.empty() ? environment(kPluginVariable).value_or("") : request.plugin;
    if (path.empty()) {
      throw backend_fault(
          "the provider 'rtx' is a plugin: name its library (provider_library in dsunet_options, "
          "or the "
          "environment variable DSUNET_RTX_PROVIDER_LIBRARY)");
    }
    const std::string reason = library.message_of(library->RegisterExecutionProviderLibrary(
        env, official_name("rtx").c_str(), native(path).c_str()));
    if (!reason.empty() && reason.find("already registered") == std::string::npos) {
      throw backend_fault(
          "the provider 'rtx' does not start: it needs an NVIDIA GPU with its driver (" +
          printable(reason) + ")");
    }
    devices = devices_of_plugin(library, env);
  }
  const auto wanted = static_cast<std::size_t>(request.device);
  if (wanted >= devices.size()) {
    throw backend_fault(
        "the provider 'rtx' finds no GPU that it supports: it needs an NVIDIA GPU of compute "
        "capability "
        "8.6, 8.9, or 12.0 and later");
  }
  Settings settings;
  const std::string cache = cache_folder(request);
  if (!cache.empty()) settings.add("nv_runtime_cache_path", cache.c_str());
  library.require(library->SessionOptionsAppendExecutionProvider_V2(
      options, env, &devices[wanted], 1, settings.keys.data(), settings.values.data(),
      settings.keys.size()));
}

#else

void add_plugin(const Library &, OrtEnv *, OrtSessionOptions *, const ProviderRequest &) {
  throw backend_fault("this backend was built with the headers of ONNX Runtime 1." +
                      std::to_string(ORT_API_VERSION) +
                      ", and plugins such as 'rtx' need those of 1." + std::to_string(kPluginApi) +
                      " or later: build it with later headers");
}

#endif

}  // namespace

void check_name(const std::string &name) {
  std::vector<std::string> known;
  for (const auto &[ours, official] : kNames) {
    if (name == ours) return;
    known.emplace_back(ours);
  }
  throw backend_fault("unknown provider " + quote(name) + ": use one of " + join(known, ", "));
}

bool is_on_gpu(const std::string &name) { return name != "cpu"; }

std::string official_name(const std::string &name) {
  for (const auto &[ours, official] : kNames) {
    if (name == ours) return official;
  }
  return name;
}

void add_provider(const Library &library, OrtEnv *env, OrtSessionOptions *options,
                  const ProviderRequest &request) {
  const std::string device = std::to_string(request.device);
  if (request.name == "tensorrt" || request.name == "rtx") {
    set_default_environment("NVIDIA_TF32_OVERRIDE", "0");
  }
  if (request.name == "rtx") return add_plugin(library, env, options, request);
  if (request.name == "cpu") return;
  check_present(library, request.name);
  if (request.name == "tensorrt") add_tensorrt(library, options, device, request);
  add_cuda(library, options, device);
}

}  // namespace dsunet_runtime::onnxruntime
