#include "execution_providers.hpp"

#include <array>
#include <utility>
#include <vector>

#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"
#include "../cache_folder.hpp"
#include "rtx_plugin.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

// Names of this project, and those of ONNX Runtime.
constexpr std::array<std::pair<const char *, const char *>, 4> kNames{
    {{"cpu", "CPUExecutionProvider"},
     {"cuda", "CUDAExecutionProvider"},
     {"tensorrt", "TensorrtExecutionProvider"},
     {"rtx", "NvTensorRTRTXExecutionProvider"}}};

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

// The graph defines the precision: float32 is not computed in TF32, whose mantissa of 10 bits is
// too short for exact resampling of frames.
void add_cuda(const Library &library, OrtSessionOptions *options, const std::string &device) {
  OrtCUDAProviderOptionsV2 *raw = nullptr;
  library.require(library->CreateCUDAProviderOptions(&raw));
  const Owned<OrtCUDAProviderOptionsV2> cuda(raw, library->ReleaseCUDAProviderOptions);
  ProviderOptions settings;
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
  ProviderOptions settings;
  settings.add("device_id", device.c_str());
  const std::string cache = cache_folder(request.artifact, request.name);
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
