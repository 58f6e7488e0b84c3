#include "protobuf_reader.hpp"

#include "../message_text.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::uint64_t kHighestField = (1u << 29) - 1;

}  // namespace

std::pair<std::uint64_t, std::uint64_t> ProtobufReader::next_field(std::uint64_t end) {
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

std::pair<std::string, std::string> ProtobufReader::entry(std::uint64_t end) {
  std::string key, value;
  for (int count = 0; count < 2 && position_ < end; ++count) {
    const auto [field, length] = next_field(end);
    if (field != kKey && field != kValue) throw NotProtobuf();
    (field == kKey ? key : value) = bytes(length);
  }
  if (position_ < end || !is_utf8(key) || !is_utf8(value)) throw NotProtobuf();
  return {key, value};
}

std::string ProtobufReader::bytes(std::uint64_t length) {
  const std::string text = file_.read_text(position_, static_cast<std::size_t>(length));
  if (text.size() != length) throw NotProtobuf();
  position_ += length;
  return text;
}

std::uint64_t ProtobufReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const std::uint64_t byte = next_byte();
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  throw NotProtobuf();
}

std::uint64_t ProtobufReader::next_byte() {
  if (position_ < start_ || position_ >= start_ + buffer_.size()) {
    start_ = position_;
    buffer_ = file_.read_text(start_, 256);
    if (buffer_.empty()) throw NotProtobuf();
  }
  return static_cast<unsigned char>(buffer_[position_++ - start_]);
}

}  // namespace dsunet_runtime
