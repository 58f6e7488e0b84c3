// Files of an artifact, read until a backend would be loaded.
//
// The first byte determines the meaning of the others: bit 0, an engine; bit 1, a graph (its length
// is in two bytes) and a manifest, into which that length and a valid digest are written; otherwise
// a whole file.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "../core/artifact/integrity.hpp"
#include "../core/artifact/onnx_metadata.hpp"
#include "../core/artifact/onnx_weights.hpp"
#include "../core/errors.hpp"
#include "sealed.hpp"

namespace {

using dsunet_runtime::Json;

std::string folder() {
  static const std::string made = [] {
    const char *parent = std::getenv("TMPDIR");
    std::string name = std::string(parent == nullptr ? "/tmp" : parent) + "/dsunet-fuzz-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  return made;
}

void write(const std::string &path, std::string_view content) {
  std::ofstream(path, std::ios::binary)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

// A manifest that describes a graph of this size.
std::string with_graph_size(std::string_view manifest, std::size_t size) {
  try {
    Json values = dsunet_runtime::parse_object(manifest);
    values["graph"]["size"] = size;
    return dsunet_runtime::fuzz::sealed(values.dump());
  } catch (const std::exception &) {
    return std::string(manifest);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  if (size < 3) return 0;
  const bool is_engine = (data[0] & 1) != 0, is_made = (data[0] & 2) != 0;
  std::string_view first(reinterpret_cast<const char *>(data) + 1, size - 1), second;
  if (is_engine || is_made) {
    const std::size_t length = std::min<std::size_t>(data[1] | data[2] << 8, size - 3);
    first = {reinterpret_cast<const char *>(data) + 3, length};
    second = {reinterpret_cast<const char *>(data) + 3 + length, size - 3 - length};
  }
  const std::string path = folder() + (is_engine ? "/a.engine" : "/a.onnx");
  const std::string manifest =
      is_made ? with_graph_size(second, first.size()) : std::string(second);
  if (is_engine) {
    write(path, first);
    write(path + ".json", manifest);
  } else {
    const std::string end =
        is_made ? dsunet_runtime::encode_metadata(dsunet_runtime::kMetadataKey, manifest) : "";
    write(path, std::string(first) + end);
  }
  const auto attempt = [](const auto &body) {
    try {
      body();
    } catch (const dsunet_runtime::Fault &fault) {
      if (std::strlen(fault.what()) > 3000) __builtin_trap();
    }
  };
  attempt([&] { dsunet_runtime::external_files(path); });
  attempt([&] {
    const dsunet_runtime::Artifact artifact = dsunet_runtime::read_artifact(path);
    attempt([&] { dsunet_runtime::check_external_names(artifact); });
    attempt([&] { dsunet_runtime::check_sizes(artifact); });
    attempt([&] { dsunet_runtime::check_hashes(artifact); });
  });
  return 0;
}
