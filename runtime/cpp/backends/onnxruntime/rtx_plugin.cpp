#include "rtx_plugin.hpp"

#include <string>
#include <vector>

#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"
#include "../cache_folder.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

constexpr std::uint32_t kPluginApi = 22;

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

#endif

}  // namespace

#if ORT_API_VERSION >= 22

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
          "or the environment variable DSUNET_RTX_PROVIDER_LIBRARY)");
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
        "capability 8.6, 8.9, or 12.0 and later");
  }
  ProviderOptions settings;
  const std::string cache = cache_folder(request.artifact, request.name);
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

}  // namespace dsunet_runtime::onnxruntime
