// The folder beside an artifact in which a library keeps what it compiles
// (backends/cache_folder.py).
#pragma once

#include <string>

#include "../core/artifact/manifest_file.hpp"

namespace dsunet_runtime {

// The folder of a provider, which is created; empty if it cannot be used.  Call it when the
// provider is known to be present.
std::string cache_folder(const Artifact &artifact, const std::string &provider);

}  // namespace dsunet_runtime
