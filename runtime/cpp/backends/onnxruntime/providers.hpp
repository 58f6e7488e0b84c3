// ONNX Runtime's execution providers: what they are called, and how a session selects one.
#pragma once

#include <string>

#include "../../core/artifact.hpp"
#include "library.hpp"

namespace dsunet_runtime::onnxruntime {

// What a session is asked for.
struct ProviderRequest {
  std::string name;    // cpu, cuda, tensorrt or rtx
  std::string plugin;  // path of the library of rtx
  std::int32_t device = 0;
  const Artifact &artifact;  // beside which the provider keeps what it compiles
};

// Throws Fault unless the name is one of a provider.
void check_name(const std::string &name);

bool is_on_gpu(const std::string &name);

// ONNX Runtime's name, such as CUDAExecutionProvider.
std::string official_name(const std::string &name);

// Add a provider to session options.  Throws Fault if it is missing or does not start.
void add_provider(const Library &library, OrtEnv *env, OrtSessionOptions *options,
                  const ProviderRequest &request);

}  // namespace dsunet_runtime::onnxruntime
