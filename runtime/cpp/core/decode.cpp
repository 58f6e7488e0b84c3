#include "decode.hpp"

namespace dsunet_runtime {

void decode(const At &at, bool &result) {
  if (!at.value.is_boolean()) throw at.misfit("true or false");
  result = at.value.get<bool>();
}

void decode(const At &at, std::int64_t &result) {
  if (!at.value.is_number_integer()) throw at.misfit("an integer");
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  const bool is_beyond = at.value.is_number_unsigned() &&
                         at.value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMost);
  result = is_beyond ? kMost : at.value.get<std::int64_t>();
}

void decode(const At &at, double &result) {
  if (!at.value.is_number()) throw at.misfit("a number");
  result = at.value.get<double>();
}

void decode(const At &at, std::string &result) {
  if (!at.value.is_string()) throw at.misfit("text");
  result = at.value.get<std::string>();
}

void decode(const At &at, Json &result) { result = at.value; }

void decode(const At &at, std::array<double, 3> &result) {
  if (!at.value.is_array() || at.value.size() != result.size()) throw at.misfit("a list of 3");
  for (std::size_t index = 0; index < result.size(); ++index) decode(at.item(index), result[index]);
}

void decode(const At &at, Dimension &result) {
  if (at.value.is_number_integer()) {
    decode(at, result.emplace<std::int64_t>());
  } else if (at.value.is_string()) {
    result = at.value.get<std::string>();
  } else {
    throw at.misfit("an integer or text");
  }
}

}  // namespace dsunet_runtime
