// Fields of a protobuf message in a file, read without the payloads that are skipped.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "../errors.hpp"
#include "../system.hpp"
#include "file_kinds.hpp"

namespace dsunet_runtime {

// The bytes are not a complete protobuf message.
struct NotProtobuf {};

// Reads headers of fields through a small buffer.  Functions throw NotProtobuf, or FileError if the
// file cannot be read.
class ProtobufReader {
 public:
  // Wire types.
  static constexpr std::uint64_t kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5;

  // Field numbers of a StringStringEntryProto.
  static constexpr std::uint64_t kKey = 1, kValue = 2;

  explicit ProtobufReader(const std::string &path) : file_(path), end_(file_.size()) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t end() const { return end_; }
  void seek(std::uint64_t position) { position_ = position; }

  // The number and the payload's length of the next field; the position is then at its payload.
  std::pair<std::uint64_t, std::uint64_t> next_field(std::uint64_t end);

  // Key and value of a StringStringEntryProto from the current position to `end`.
  std::pair<std::string, std::string> entry(std::uint64_t end);

 private:
  std::string bytes(std::uint64_t length);
  std::uint64_t varint();
  std::uint64_t next_byte();

  RegularFile file_;
  std::uint64_t end_;
  std::uint64_t position_ = 0;
  std::uint64_t start_ = 0;  // position of the buffer
  std::string buffer_;
};

// The result of `read`, which reads an ONNX file.  Throws Fault in the place of its exceptions.
template <class Read>
auto read_onnx_file(const std::string &path, const Read &read) {
  try {
    return read();
  } catch (const NotProtobuf &) {
    throw artifact_fault(path + ": " + why_no_artifact(path));
  } catch (const FileError &error) {
    const std::string reason = error.is_folder() ? why_no_artifact(path) : error.what();
    throw artifact_fault(path + ": " + reason);
  }
}

}  // namespace dsunet_runtime
