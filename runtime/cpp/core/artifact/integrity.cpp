#include "integrity.hpp"

#include <algorithm>

#include "../errors.hpp"
#include "../sha256.hpp"
#include "../system.hpp"
#include "file_kinds.hpp"
#include "onnx_weights.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::size_t kBlock = 1 << 20;

std::string sha256_of_file(const std::string &path, std::uint64_t size) {
  try {
    const RegularFile file(path);
    Sha256 hash;
    std::string block(kBlock, '\0');
    for (std::uint64_t at = 0; at < size;) {
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, size - at));
      const std::size_t count = file.read(at, block.data(), wanted);
      if (count == 0) break;
      hash.update(std::string_view(block).substr(0, count));
      at += count;
    }
    return hash.digest();
  } catch (const FileError &error) {
    throw artifact_fault(path + ": " + error.what());
  }
}

std::string sha256_of_file(const std::string &path) {
  return sha256_of_file(path, file_size(path, "No such file or directory"));
}

}  // namespace

void check_sizes(const Artifact &artifact) {
  const std::string &path = artifact.path, name = name_part(path);
  if (artifact.is_engine()) {
    const FileDigest &file = artifact.manifest.engine->file;
    const std::uint64_t size = file_size(path, "no such file");
    if (size != static_cast<std::uint64_t>(file.size)) {
      throw artifact_fault(path + ": has " + std::to_string(size) + " bytes and " +
                           name_part(engine_manifest_file(path)) + " describes an engine of " +
                           std::to_string(file.size) +
                           ": cut short, or another engine; copy both again, or build again");
    }
    return;
  }
  for (const FileDigest &expected : artifact.manifest.files) {
    const std::string file = with_name(path, expected.name);
    const std::uint64_t size = file_size(
        file, "missing; " + name + " stores its weights in it: copy or move both together");
    if (size != static_cast<std::uint64_t>(expected.size)) {
      throw artifact_fault(file + ": has " + std::to_string(size) + " bytes and " + name +
                           " was exported with one of " + std::to_string(expected.size) +
                           ": cut short or replaced; copy it again, or export again");
    }
  }
}

void check_hashes(const Artifact &artifact) {
  const std::string &path = artifact.path;
  const Manifest &manifest = artifact.manifest;
  if (artifact.is_engine()) {
    if (sha256_of_file(path) != manifest.engine->file.sha256) {
      throw artifact_fault(
          path + ": not the engine that " + name_part(engine_manifest_file(path)) +
          " describes (its SHA-256 differs): damaged, or another engine; copy both "
          "again, or build again");
    }
    return;
  }
  const auto size = static_cast<std::uint64_t>(manifest.graph.size);
  if (sha256_of_file(path, size) != manifest.graph.sha256) {
    throw artifact_fault(
        path +
        ": damaged, or changed since it was exported (its SHA-256 differs): copy it "
        "again, or export again");
  }
  for (const FileDigest &expected : manifest.files) {
    const std::string file = with_name(path, expected.name);
    if (sha256_of_file(file) != expected.sha256) {
      throw artifact_fault(file + ": not the file that " + name_part(path) +
                           " was exported with (its SHA-256 differs): damaged or replaced; copy it "
                           "again, or export again");
    }
  }
}

void check_external_names(const Artifact &artifact) {
  const auto known = weights_files(artifact);
  for (const std::string &name : external_files(artifact.path)) {
    if (known.count(name) == 0) {
      throw artifact_fault(artifact.path + ": its graph reads weights from " + quote(name) +
                           ", which its manifest does not name: changed since it was exported; "
                           "export it again");
    }
  }
}

std::map<std::string, std::string> weights_files(const Artifact &artifact) {
  std::map<std::string, std::string> files;
  for (const FileDigest &file : artifact.manifest.files) {
    files[file.name] = with_name(artifact.path, file.name);
  }
  return files;
}

}  // namespace dsunet_runtime
