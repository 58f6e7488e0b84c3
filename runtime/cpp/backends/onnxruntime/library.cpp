#include "library.hpp"

#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

constexpr const char *kVariable = "DSUNET_ONNXRUNTIME_LIBRARY";
constexpr const char *kHowToFind =
    ": install it, and name its library (library in dsunet_options, or the environment variable "
    "DSUNET_ONNXRUNTIME_LIBRARY); the Python package onnxruntime has it in onnxruntime/capi/";

// ONNX Runtime has no error code for insufficient memory.
bool is_out_of_memory(const std::string &message) {
  return message.find("Failed to allocate memory") != std::string::npos ||
         message.find("bad_alloc") != std::string::npos;
}

SharedLibrary loaded(const std::string &path) {
  // Telemetry would contact Microsoft, and write an identifier into the home folder.
  set_default_environment("ORT_DISABLE_TELEMETRY", "1");
  const std::string named = path.empty() ? environment(kVariable).value_or("") : path;
  if (!named.empty()) {
    try {
      return SharedLibrary(named);
    } catch (const FileError &error) {
      throw backend_fault(named + ": ONNX Runtime cannot be loaded: " + printable(error.what()) +
                          kHowToFind);
    }
  }
  std::string reason;
  for (const char *name : {"libonnxruntime.so.1", "libonnxruntime.so", "onnxruntime.dll"}) {
    try {
      return SharedLibrary(name);
    } catch (const FileError &error) {
      if (reason.empty()) reason = error.what();
    }
  }
  throw backend_fault("ONNX Runtime is not found (" + printable(reason) + ")" + kHowToFind);
}

}  // namespace

Library::Library(const std::string &path) : library_(loaded(path)) {
  const auto entry = library_.function<const OrtApiBase *()>("OrtGetApiBase");
  base_ = entry == nullptr ? nullptr : entry();
  if (base_ == nullptr) {
    throw backend_fault("the library that was loaded is not ONNX Runtime" +
                        std::string(kHowToFind));
  }
  api_ = base_->GetApi(kOldestApi);
  if (api_ == nullptr) {
    throw backend_fault("ONNX Runtime " + version() + " is too old: install 1." +
                        std::to_string(kOldestApi) + " or later");
  }
}

std::string Library::message_of(OrtStatus *status) const {
  if (status == nullptr) return "";
  std::string message = api_->GetErrorMessage(status);
  api_->ReleaseStatus(status);
  return message.empty() ? "no reason given" : message;
}

void Library::require(OrtStatus *status) const {
  const std::string message = message_of(status);
  if (message.empty()) return;
  if (is_out_of_memory(message)) {
    throw Fault(
        DSUNET_ERROR_MEMORY,
        "out of memory: use smaller frames or batches (ONNX Runtime: " + printable(message) + ")");
  }
  throw backend_fault("ONNX Runtime failed: " + printable(message));
}

}  // namespace dsunet_runtime::onnxruntime
