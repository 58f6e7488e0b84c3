#include "cache_folder.hpp"

#include "../core/sha256.hpp"
#include "../core/system.hpp"

namespace dsunet_runtime {

std::string cache_folder(const Artifact &artifact, const std::string &provider) {
  const Manifest &manifest = artifact.manifest;
  // Libraries identify what they compiled by names, not by weights.
  std::string digests = manifest.graph.sha256;
  for (const FileDigest &file : manifest.files) digests += file.sha256;
  const std::string content = manifest.files.empty() ? digests : sha256_of(digests);
  const std::string folder = artifact.path + "." + content.substr(0, 16) + "." + provider;
  return own_folder(folder) ? folder : "";
}

}  // namespace dsunet_runtime
