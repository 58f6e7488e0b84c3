// Whether the files of an artifact are those that its manifest describes (artifact/integrity.py).
#pragma once

#include <map>
#include <string>

#include "manifest_file.hpp"

namespace dsunet_runtime {

// Throws Fault unless every file of the artifact exists and has the size that its manifest names.
void check_sizes(const Artifact &artifact);

// Throws Fault unless the SHA-256 of every file is the manifest's.  Reads all of them.
void check_hashes(const Artifact &artifact);

// Throws Fault if the graph reads weights from files that the manifest does not name.
void check_external_names(const Artifact &artifact);

// The paths of the external weight files, by name.
std::map<std::string, std::string> weights_files(const Artifact &artifact);

}  // namespace dsunet_runtime
