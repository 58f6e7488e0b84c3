// The manifest of an artifact, in or beside its file (artifact/manifest_file.py).
#pragma once

#include <cstdint>
#include <string>

#include "manifest.hpp"

namespace dsunet_runtime {

struct Artifact {
  std::string path;
  Manifest manifest;
  std::string document;  // the manifest's text

  bool is_engine() const { return manifest.engine.has_value(); }
};

// Read an artifact's manifest: from the end of an ONNX file, or beside an engine.  Throws Fault.
Artifact read_artifact(const std::string &path);

// The manifest beside an engine.
std::string engine_manifest_file(const std::string &path);

// Throws Fault; `missing` is the message if the file does not exist.
std::uint64_t file_size(const std::string &file, const std::string &missing);

}  // namespace dsunet_runtime
