#include "onnx_metadata.hpp"

#include <utility>
#include <vector>

#include "../json_text.hpp"
#include "../message_text.hpp"
#include "protobuf_reader.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::uint64_t kMetadataProps = 14;  // field number of onnx.proto
constexpr int kMostFields = 100'000;          // the exporter writes about ten

std::vector<std::pair<std::string, std::string>> metadata_entries(const std::string &path) {
  ProtobufReader reader(path);
  if (reader.end() == 0) throw NotProtobuf();
  std::vector<std::pair<std::string, std::string>> entries;
  std::uint64_t left = kMostBytesOfJson;
  for (int count = 0; count < kMostFields; ++count) {
    if (reader.position() >= reader.end()) return entries;
    const auto [field, length] = reader.next_field(reader.end());
    if (field != kMetadataProps) {
      reader.seek(reader.position() + length);
      continue;
    }
    if (length > left) {
      throw artifact_fault(path + ": has more than " + with_commas(kMostBytesOfJson) +
                           " bytes of metadata: it was not exported by dsunet-export");
    }
    left -= length;
    entries.push_back(reader.entry(reader.position() + length));
  }
  throw NotProtobuf();
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value > 0x7F; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string encoded_field(std::uint64_t number, const std::string &content) {
  return varint(number << 3 | ProtobufReader::kLengthDelimited) + varint(content.size()) + content;
}

}  // namespace

std::map<std::string, std::string> read_metadata(const std::string &path) {
  const auto entries = read_onnx_file(path, [&] { return metadata_entries(path); });
  std::map<std::string, std::string> metadata;
  for (const auto &[key, value] : entries) {
    if (!metadata.emplace(key, value).second) {
      throw artifact_fault(path + ": has two entries of metadata called " + quote(key) +
                           ": changed since it was exported; export it again");
    }
  }
  return metadata;
}

std::string encode_metadata(const std::string &key, const std::string &value) {
  return encoded_field(kMetadataProps, encoded_field(ProtobufReader::kKey, key) +
                                           encoded_field(ProtobufReader::kValue, value));
}

}  // namespace dsunet_runtime
