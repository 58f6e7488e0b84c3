#include "onnx_weights.hpp"

#include <optional>
#include <vector>

#include "protobuf_reader.hpp"

namespace dsunet_runtime {
namespace {

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
  ProtobufReader reader(path);
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

}  // namespace

std::set<std::string> external_files(const std::string &path) {
  return read_onnx_file(path, [&] { return external_names(path); });
}

}  // namespace dsunet_runtime
