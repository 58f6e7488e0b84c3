#include "library.hpp"

#include <algorithm>
#include <cstdlib>

#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"
#include "compatibility.hpp"

namespace dsunet_runtime::tensorrt {

extern const Sdk kTensorrtSdk, kRtxSdk;

namespace {

constexpr const char *kVariable = "DSUNET_TENSORRT_LIBRARY";
constexpr const char *kHowToName =
    "name its library (library in dsunet_options, or the environment variable "
    "DSUNET_TENSORRT_LIBRARY)";

long major_of(const std::string &version) { return std::strtol(version.c_str(), nullptr, 10); }

std::string distribution(Flavor flavor) {
  return flavor == Flavor::kRtx ? "tensorrt-rtx" : "tensorrt";
}

std::string install(const Engine &engine) {
  return "pip install " + distribution(engine.flavor) + "==" + engine.tensorrt_version + ", and " +
         kHowToName;
}

const Sdk &sdk_of(const Artifact &artifact) {
  const Engine &engine = *artifact.manifest.engine;
  const std::string headers = std::string("the headers of ") + title(engine.flavor);
  const char *folder =
      engine.flavor == Flavor::kRtx ? "TENSORRT_RTX_INCLUDE_DIR" : "TENSORRT_INCLUDE_DIR";
  const Sdk *sdk = find_sdk(engine.flavor);
  if (sdk == nullptr) {
    throw backend_fault(artifact.path + ": needs " + title(engine.flavor) +
                        ", and this backend was built without " + headers +
                        ": build it with them (" + folder + ")");
  }
  if (sdk->major != major_of(engine.tensorrt_version)) {
    throw backend_fault(artifact.path + ": needs " + title(engine.flavor) + " " +
                        printable(engine.tensorrt_version) + ", and this backend was built with " +
                        headers + " " + std::to_string(sdk->major) + "." +
                        std::to_string(sdk->minor) + ": build it with those of that version (" +
                        folder + ")");
  }
  return *sdk;
}

std::vector<std::string> names_of(const Engine &engine) {
  const bool is_rtx = engine.flavor == Flavor::kRtx;
  const std::string major = std::to_string(major_of(engine.tensorrt_version));
#if defined(_WIN32)
  const std::string name = is_rtx ? "tensorrt_rtx" : "nvinfer";
  const std::string &version = engine.tensorrt_version;
  const std::size_t dot = version.find('.');
  std::string both = version.substr(0, version.find('.', dot + 1));
  std::replace(both.begin(), both.end(), '.', '_');
  return {name + "_" + (is_rtx ? both : major) + ".dll"};
#else
  const std::string name = is_rtx ? "libtensorrt_rtx.so" : "libnvinfer.so";
  return {name + "." + major, name};
#endif
}

SharedLibrary loaded(const Artifact &artifact, const std::string &path) {
  const Engine &engine = *artifact.manifest.engine;
  const std::string named = path.empty() ? environment(kVariable).value_or("") : path;
  std::string reason;
  for (const std::string &name :
       named.empty() ? names_of(engine) : std::vector<std::string>{named}) {
    try {
      return SharedLibrary(name);
    } catch (const FileError &error) {
      if (reason.empty()) reason = error.what();
    }
  }
  throw backend_fault(artifact.path + ": needs " + title(engine.flavor) +
                      ", which is not installed: " + install(engine) + " (" + printable(reason) +
                      ")");
}

std::string version_of(const SharedLibrary &library, const Artifact &artifact) {
  std::string version;
  for (const char *part : {"Major", "Minor", "Patch", "Build"}) {
    const std::string function = std::string("getInferLib") + part + "Version";
    const auto number = library.function<std::int32_t()>(function.c_str());
    if (number == nullptr || library.find("createInferRuntime_INTERNAL") == nullptr) {
      throw backend_fault(artifact.path + ": the library that was loaded is not TensorRT: " +
                          install(*artifact.manifest.engine));
    }
    version += (version.empty() ? "" : ".") + std::to_string(number());
  }
  return version;
}

}  // namespace

Library::Library(const Artifact &artifact, const std::string &path)
    : sdk_(sdk_of(artifact)),
      library_(loaded(artifact, path)),
      version_(version_of(library_, artifact)) {
  const Engine &engine = *artifact.manifest.engine;
  if (version_ != engine.tensorrt_version) {
    throw backend_fault(artifact.path + ": built with " + title(engine.flavor) + " " +
                        printable(engine.tensorrt_version) + ", which the installed " + version_ +
                        " cannot load: " + install(engine) +
                        ", or build it again: " + rebuild_command(artifact));
  }
}

const Sdk *find_sdk(Flavor flavor) {
#if defined(DSUNET_HAS_TENSORRT)
  if (flavor == Flavor::kTensorRT) return &kTensorrtSdk;
#endif
#if defined(DSUNET_HAS_RTX)
  if (flavor == Flavor::kRtx) return &kRtxSdk;
#endif
  return nullptr;
}

}  // namespace dsunet_runtime::tensorrt
