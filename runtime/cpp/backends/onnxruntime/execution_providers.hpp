// Names, options and selection of ONNX Runtime's execution providers
// (backends/onnxruntime/execution_providers.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../../core/artifact/manifest_file.hpp"
#include "library.hpp"

namespace dsunet_runtime::onnxruntime {

// Options of a provider as two arrays, as the C API takes them.  They keep no texts.
struct ProviderOptions {
  std::vector<const char *> keys, values;

  void add(const char *key, const char *value) {
    keys.push_back(key);
    values.push_back(value);
  }
};

// The provider that a session is opened with.
struct ProviderRequest {
  std::string name;    // cpu, cuda, tensorrt or rtx
  std::string plugin;  // path of the library of rtx
  std::int32_t device = 0;
  const Artifact &artifact;  // the provider keeps what it compiles beside it
};

// Throws Fault unless there is a provider of this name.
void check_name(const std::string &name);

bool is_on_gpu(const std::string &name);

// ONNX Runtime's name, such as CUDAExecutionProvider.
std::string official_name(const std::string &name);

// Add a provider to session options.  Throws Fault if it is missing or does not start.
void add_provider(const Library &library, OrtEnv *env, OrtSessionOptions *options,
                  const ProviderRequest &request);

}  // namespace dsunet_runtime::onnxruntime
