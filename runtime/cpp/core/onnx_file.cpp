#include "onnx_file.hpp"

#include <functional>
#include <optional>
#include <vector>

#include "error.hpp"
#include "file_kinds.hpp"
#include "json.hpp"
#include "system.hpp"
#include "text.hpp"

namespace dsunet_runtime {
namespace {

// Field numbers of onnx.proto, and protobuf's wire types.
constexpr std::uint64_t kMetadata = 14, kKey = 1, kValue = 2;
constexpr std::uint64_t kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5;
constexpr std::uint64_t kHighestField = (1u << 29) - 1;
constexpr int kMostFields = 100'000;  // the exporter writes about ten

// The bytes are not a complete protobuf message.
struct NotProtobuf {};

// Reads headers of fields through a small buffer.
class Reader {
 public:
  explicit Reader(const std::string &path) : file_(path), end_(file_.size()) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t end() const { return end_; }
  void seek(std::uint64_t position) { position_ = position; }

  // The number and the payload's length of the next field; the position is then at its payload.
  std::pair<std::uint64_t, std::uint64_t> next_field(std::uint64_t end) {
    const std::uint64_t tag = varint();
    const std::uint64_t field = tag >> 3;
    std::uint64_t length = 0;
    switch (tag & 7) {
      case kLengthDelimited:
        length = varint();
        break;
      case kVarint: {
        const std::uint64_t start = position_;
        varint();
        length = position_ - start;
        position_ = start;
        break;
      }
      case kFixed64:
        length = 8;
        break;
      case kFixed32:
        length = 4;
        break;
      default:
        throw NotProtobuf();
    }
    if (field < 1 || field > kHighestField || position_ > end || length > end - position_) {
      throw NotProtobuf();
    }
    return {field, length};
  }

  std::string bytes(std::uint64_t length) {
    const std::string text = file_.read_text(position_, static_cast<std::size_t>(length));
    if (text.size() != length) throw NotProtobuf();
    position_ += length;
    return text;
  }

  // A StringStringEntryProto from the current position to `end`.
  std::pair<std::string, std::string> entry(std::uint64_t end) {
    std::string key, value;
    for (int count = 0; count < 2 && position_ < end; ++count) {
      const auto [field, length] = next_field(end);
      if (field != kKey && field != kValue) throw NotProtobuf();
      (field == kKey ? key : value) = bytes(length);
    }
    if (position_ < end || !is_utf8(key) || !is_utf8(value)) throw NotProtobuf();
    return {key, value};
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = next_byte();
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw NotProtobuf();
  }

  std::uint64_t next_byte() {
    if (position_ < start_ || position_ >= start_ + buffer_.size()) {
      start_ = position_;
      buffer_ = file_.read_text(start_, 256);
      if (buffer_.empty()) throw NotProtobuf();
    }
    return static_cast<unsigned char>(buffer_[position_++ - start_]);
  }

  RegularFile file_;
  std::uint64_t end_;
  std::uint64_t position_ = 0;
  std::uint64_t start_ = 0;
  std::string buffer_;
};

template <class Read>
auto reading(const std::string &path, const Read &read) {
  try {
    return read();
  } catch (const NotProtobuf &) {
    throw artifact_fault(path + ": " + why_no_artifact(path));
  } catch (const FileError &error) {
    const std::string reason = error.is_folder() ? why_no_artifact(path) : error.what();
    throw artifact_fault(path + ": " + reason);
  }
}

std::vector<std::pair<std::string, std::string>> metadata_entries(const std::string &path) {
  Reader reader(path);
  if (reader.end() == 0) throw NotProtobuf();
  std::vector<std::pair<std::string, std::string>> entries;
  std::uint64_t left = kMostBytesOfJson;
  for (int count = 0; count < kMostFields; ++count) {
    if (reader.position() >= reader.end()) return entries;
    const auto [field, length] = reader.next_field(reader.end());
    if (field != kMetadata) {
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

enum class Message {
  kModel,
  kTraining,
  kFunction,
  kGraph,
  kNode,
  kAttribute,
  kSparse,
  kTensor,
  kEntry
};

// The message that a field of a message holds, if it can contain tensors.
std::optional<Message> nested(Message message, std::uint64_t field) {
  using M = Message;
  switch (message) {
    case M::kModel:
      if (field == 7) return M::kGraph;
      if (field == 20) return M::kTraining;
      if (field == 25) return M::kFunction;
      break;
    case M::kTraining:
      if (field == 1 || field == 2) return M::kGraph;
      break;
    case M::kFunction:
      if (field == 7) return M::kNode;
      if (field == 11) return M::kAttribute;
      break;
    case M::kGraph:
      if (field == 1) return M::kNode;
      if (field == 5) return M::kTensor;
      if (field == 15) return M::kSparse;
      break;
    case M::kNode:
      if (field == 5) return M::kAttribute;
      break;
    case M::kAttribute:
      if (field == 5 || field == 10) return M::kTensor;
      if (field == 6 || field == 11) return M::kGraph;
      if (field == 22 || field == 23) return M::kSparse;
      break;
    case M::kSparse:
      if (field == 1 || field == 2) return M::kTensor;
      break;
    case M::kTensor:
      if (field == 13) return M::kEntry;
      break;
    case M::kEntry:
      break;
  }
  return std::nullopt;
}

std::set<std::string> external_names(const std::string &path) {
  struct Open {
    Message message;
    std::uint64_t position, end;
  };
  Reader reader(path);
  std::set<std::string> names;
  std::vector<Open> open{{Message::kModel, 0, reader.end()}};
  while (!open.empty()) {
    const Open one = open.back();
    open.pop_back();
    reader.seek(one.position);
    if (one.message == Message::kEntry) {
      const auto [key, value] = reader.entry(one.end);
      if (key == "location") names.insert(value);
      continue;
    }
    while (reader.position() < one.end) {
      const auto [field, length] = reader.next_field(one.end);
      const std::uint64_t start = reader.position();
      if (const auto inside = nested(one.message, field))
        open.push_back({*inside, start, start + length});
      reader.seek(start + length);
    }
  }
  return names;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value > 0x7F; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string encoded_field(std::uint64_t number, const std::string &content) {
  return varint(number << 3 | kLengthDelimited) + varint(content.size()) + content;
}

}  // namespace

std::map<std::string, std::string> read_metadata(const std::string &path) {
  const auto entries = reading(path, [&] { return metadata_entries(path); });
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
  return encoded_field(kMetadata, encoded_field(kKey, key) + encoded_field(kValue, value));
}

std::set<std::string> external_files(const std::string &path) {
  return reading(path, [&] { return external_names(path); });
}

}  // namespace dsunet_runtime
