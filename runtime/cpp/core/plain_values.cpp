#include "plain_values.hpp"

namespace dsunet_runtime {

void decode(const JsonValue &json, bool &result) {
  if (!json.value.is_boolean()) throw json.misfit("true or false");
  result = json.value.get<bool>();
}

void decode(const JsonValue &json, std::int64_t &result) {
  if (!json.value.is_number_integer()) throw json.misfit("an integer");
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  const bool is_beyond = json.value.is_number_unsigned() &&
                         json.value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMost);
  result = is_beyond ? kMost : json.value.get<std::int64_t>();
}

void decode(const JsonValue &json, double &result) {
  if (!json.value.is_number()) throw json.misfit("a number");
  result = json.value.get<double>();
}

void decode(const JsonValue &json, std::string &result) {
  if (!json.value.is_string()) throw json.misfit("text");
  result = json.value.get<std::string>();
}

void decode(const JsonValue &json, Json &result) { result = json.value; }

void decode(const JsonValue &json, std::array<double, 3> &result) {
  if (!json.value.is_array() || json.value.size() != result.size())
    throw json.misfit("a list of 3");
  for (std::size_t index = 0; index < result.size(); ++index)
    decode(json.item(index), result[index]);
}

void decode(const JsonValue &json, Dimension &result) {
  if (json.value.is_number_integer()) {
    decode(json, result.emplace<std::int64_t>());
  } else if (json.value.is_string()) {
    result = json.value.get<std::string>();
  } else {
    throw json.misfit("an integer or text");
  }
}

}  // namespace dsunet_runtime
