// An artifact on disk: its manifest, and checks of the files that belong to it (artifact/read.py).
#pragma once

#include <map>
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

// Throws Fault unless every file of the artifact exists and has the size that its manifest names.
void check_sizes(const Artifact &artifact);

// Throws Fault unless the SHA-256 of every file is the manifest's.  Reads all of them.
void check_hashes(const Artifact &artifact);

// Throws Fault if the graph reads weights from files that the manifest does not name.
void check_external_names(const Artifact &artifact);

// The paths of the external weight files, by name.
std::map<std::string, std::string> weights_files(const Artifact &artifact);

}  // namespace dsunet_runtime
