#include "manifest_file.hpp"

#include "../errors.hpp"
#include "../system.hpp"
#include "file_kinds.hpp"
#include "onnx_metadata.hpp"

namespace dsunet_runtime {
namespace {

Manifest parsed(const std::string &file, const std::string &document) {
  try {
    return parse_manifest(document);
  } catch (const Fault &fault) {
    throw artifact_fault(file + ": " + fault.what());
  }
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
  file_size(path, "no such file");
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

std::string engine_manifest_file(const std::string &path) { return path + ".json"; }

std::uint64_t file_size(const std::string &file, const std::string &missing) {
  try {
    return RegularFile(file).size();
  } catch (const FileError &error) {
    throw artifact_fault(file + ": " + (error.is_missing() ? missing : error.what()));
  }
}

Artifact read_artifact(const std::string &path) {
  return is_engine(path) ? read_engine(path) : read_onnx(path);
}

}  // namespace dsunet_runtime
