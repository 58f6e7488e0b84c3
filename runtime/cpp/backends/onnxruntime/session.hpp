// An ONNX file in a session of ONNX Runtime.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../interface.h"
#include "execution_providers.hpp"
#include "library.hpp"

namespace dsunet_runtime::onnxruntime {

class Session {
 public:
  // Throws Fault if ONNX Runtime, or the provider, is missing or does not start; if a provider on a
  // GPU leaves the network to the CPU and that is not allowed; or if the file is not a model that
  // fits its manifest.
  explicit Session(const dsunet_backend_request &request);

  // Device, driver and libraries, one per line; empty for the provider `cpu`.
  const std::string &machine() const { return machine_; }

  const Library &library() const { return library_; }
  OrtSession *get() const { return session_.get(); }
  const OrtMemoryInfo *memory() const { return memory_.get(); }

 private:
  void open(const Artifact &artifact, const dsunet_backend_request &request);
  void give_linked_weights(const Artifact &artifact, OrtSessionOptions *options,
                           std::vector<std::unique_ptr<MappedFile>> &kept) const;
  void check_names(const Artifact &artifact) const;
  std::vector<std::string> names(bool are_inputs) const;

  Library library_;
  Owned<OrtEnv> env_;
  Owned<OrtSession> session_;
  Owned<OrtMemoryInfo> memory_;
  std::string machine_;
};

// Throws Fault if a session computes matrix multiplications or convolutions on the CPU
// (backends/onnxruntime/placement.py).
void check_placement(const Library &library, OrtSession *session, const std::string &path,
                     const std::string &provider);

}  // namespace dsunet_runtime::onnxruntime
