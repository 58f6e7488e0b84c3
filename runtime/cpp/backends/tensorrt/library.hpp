// The library of a flavor of TensorRT, which is loaded at run time.
#pragma once

#include <string>

#include "../../core/artifact/manifest_file.hpp"
#include "../../core/system.hpp"
#include "engine.hpp"

namespace dsunet_runtime::tensorrt {

class Library {
 public:
  // Load the library that an engine needs: `path`, or if that is empty the one that the environment
  // names, or that the loader finds.  Throws Fault unless there is one, its version is that of the
  // engine's manifest, and this backend has the headers of that version.
  Library(const Artifact &artifact, const std::string &path);

  const SharedLibrary &shared() const { return library_; }
  const Sdk &sdk() const { return sdk_; }

  // "1.7.1.116"
  const std::string &version() const { return version_; }

 private:
  const Sdk &sdk_;
  SharedLibrary library_;
  std::string version_;
};

}  // namespace dsunet_runtime::tensorrt
