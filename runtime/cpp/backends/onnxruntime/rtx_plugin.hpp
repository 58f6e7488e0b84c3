// The plugin that is the provider `rtx` (backends/onnxruntime/rtx_plugin.py).
#pragma once

#include "execution_providers.hpp"

namespace dsunet_runtime::onnxruntime {

// Register the plugin unless it is registered, and add it to session options.  Throws Fault if it
// is missing, does not start, or finds no GPU that it supports.
void add_plugin(const Library &library, OrtEnv *env, OrtSessionOptions *options,
                const ProviderRequest &request);

}  // namespace dsunet_runtime::onnxruntime
