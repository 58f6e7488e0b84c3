// ONNX Runtime's library, which is loaded at run time, and owners of its objects.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <string>

#include "../../core/system.hpp"

namespace dsunet_runtime::onnxruntime {

// The oldest supported version.  Functions of later ones are called only after `has_api`.
constexpr std::uint32_t kOldestApi = 18;

class Library {
 public:
  // Load the library: `path`, or if that is empty the one that the environment names, or that the
  // loader finds.  Throws Fault if there is none, or if it is older than kOldestApi.
  explicit Library(const std::string &path);

  const OrtApi *operator->() const { return api_; }

  // Whether the loaded library has the functions that were new in a version of the API.
  bool has_api(std::uint32_t version) const { return base_->GetApi(version) != nullptr; }

  std::string version() const { return base_->GetVersionString(); }

  // The message of a status, or an empty string for success; releases it.
  std::string message_of(OrtStatus *status) const;

  // Throws Fault with ONNX Runtime's message, unless the status is success: DSUNET_ERROR_MEMORY
  // if memory is insufficient, otherwise DSUNET_ERROR_BACKEND.
  void require(OrtStatus *status) const;

 private:
  SharedLibrary library_;
  const OrtApiBase *base_ = nullptr;
  const OrtApi *api_ = nullptr;
};

// An object of ONNX Runtime with the function that releases it.
template <class Object>
using Owned = std::unique_ptr<Object, void (*)(Object *)>;

}  // namespace dsunet_runtime::onnxruntime
