#include "read.hpp"

#include <algorithm>

#include "../errors.hpp"
#include "../sha256.hpp"
#include "../system.hpp"
#include "file_kinds.hpp"
#include "onnx_metadata.hpp"
#include "onnx_weights.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::size_t kBlock = 1 << 20;

Manifest parsed(const std::string &file, const std::string &document) {
  try {
    return parse_manifest(document);
  } catch (const Fault &fault) {
    throw artifact_fault(file + ": " + fault.what());
  }
}

std::string engine_manifest_file(const std::string &path) { return path + ".json"; }

// Throws Fault; `missing` is the message if the file does not exist.
std::uint64_t size_of(const std::string &file, const std::string &missing) {
  try {
    return RegularFile(file).size();
  } catch (const FileError &error) {
    throw artifact_fault(file + ": " + (error.is_missing() ? missing : error.what()));
  }
}

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
  return sha256_of_file(path, size_of(path, "No such file or directory"));
}

// Throws Fault unless an ONNX file contains only its manifest after the bytes that the hash covers.
void check_end(const Artifact &artifact) {
  const std::string expected = encode_metadata(kMetadataKey, artifact.document);
  std::string found;
  try {
    const auto start = static_cast<std::uint64_t>(artifact.manifest.graph.size);
    found = RegularFile(artifact.path).read_text(start, expected.size() + 1);
  } catch (const FileError &error) {
    throw artifact_fault(artifact.path + ": " + error.what());
  }
  if (found != expected) {
    throw artifact_fault(artifact.path +
                         ": changed since it was exported (it does not end in its manifest, or the "
                         "graph before that has another size): copy it again, or export again");
  }
}

Artifact read_onnx(const std::string &path) {
  const auto metadata = read_metadata(path);
  const auto entry = metadata.find(kMetadataKey);
  if (entry == metadata.end()) {
    if (!begins_as_onnx(path)) throw artifact_fault(path + ": " + why_no_artifact(path));
    throw artifact_fault(path +
                         ": was not exported by dsunet-export: export its checkpoint with "
                         "`dsunet-export onnx CHECKPOINT -o " +
                         shell_quoted(name_part(path)) + "`");
  }
  Artifact artifact{path, parsed(path, entry->second), entry->second};
  if (artifact.is_engine()) {
    throw artifact_fault(path + ": holds the manifest of an engine: export it again");
  }
  check_end(artifact);
  return artifact;
}

Artifact read_engine(const std::string &path) {
  const std::string file = engine_manifest_file(path);
  size_of(path, "no such file");
  std::string document;
  try {
    document = RegularFile(file).read_text(0, kMostBytesOfJson + 1);
  } catch (const FileError &error) {
    if (!error.is_missing()) throw artifact_fault(file + ": " + error.what());
    if (begins_as_other_model(path)) throw artifact_fault(path + ": " + why_no_artifact(path));
    throw artifact_fault(
        file + ": missing; it describes " + name_part(path) +
        ": copy both together, or build the engine again with `dsunet-export trt`");
  }
  if (!is_utf8(document)) {
    throw artifact_fault(file + ": the manifest is not readable: not text");
  }
  Artifact artifact{path, parsed(file, document), document};
  if (!artifact.is_engine()) {
    throw artifact_fault(
        file + ": describes an ONNX file, not an engine: build one with `dsunet-export trt`");
  }
  return artifact;
}

}  // namespace

Artifact read_artifact(const std::string &path) {
  return is_engine(path) ? read_engine(path) : read_onnx(path);
}

void check_sizes(const Artifact &artifact) {
  const std::string &path = artifact.path, name = name_part(path);
  if (artifact.is_engine()) {
    const FileDigest &file = artifact.manifest.engine->file;
    const std::uint64_t size = size_of(path, "no such file");
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
    const std::uint64_t size =
        size_of(file, "missing; " + name + " stores its weights in it: copy or move both together");
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
