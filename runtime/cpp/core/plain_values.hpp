// Structs from JSON values (plain_values.py).  Each struct declares its fields in a table.
//
// Unknown fields are ignored; fields that are not required may be absent.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "json_text.hpp"
#include "message_text.hpp"

namespace dsunet_runtime {

// A value does not fit its field; the message names the field and completes a sentence.
class FieldError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class Struct, class Member>
struct Field {
  const char *name;
  Member Struct::*member;
  bool is_required;
};

template <class Struct, class Member>
constexpr Field<Struct, Member> required(const char *name, Member Struct::*member) {
  return {name, member, true};
}

template <class Struct, class Member>
constexpr Field<Struct, Member> with_default(const char *name, Member Struct::*member) {
  return {name, member, false};
}

// A JSON value and its path in the document.
struct JsonValue {
  const Json &value;
  std::string path;

  std::string where() const { return path.empty() ? "it" : path; }

  JsonValue inside(const std::string &name) const { return inside(name, value.at(name)); }

  JsonValue inside(const std::string &name, const Json &of_name) const {
    const std::string shown_name = printable(name, 40);
    return {of_name, path.empty() ? shown_name : path + "." + shown_name};
  }

  JsonValue item(std::size_t index) const {
    return {value.at(index), path + "[" + std::to_string(index) + "]"};
  }

  // The error of a value that is not `expected`.
  FieldError misfit(const std::string &expected) const {
    const std::string found = value.is_string() ? quote(value.get_ref<const std::string &>())
                                                : printable(in_json(value), 80);
    return FieldError(where() + " is " + found + ", not " + expected);
  }
};

void decode(const JsonValue &json, bool &result);
void decode(const JsonValue &json, std::int64_t &result);
void decode(const JsonValue &json, double &result);
void decode(const JsonValue &json, std::string &result);
void decode(const JsonValue &json, Json &result);
void decode(const JsonValue &json, std::array<double, 3> &result);

// A number, or the name of a dynamic axis.
using Dimension = std::variant<std::int64_t, std::string>;
void decode(const JsonValue &json, Dimension &result);

template <class Struct, class = decltype(Struct::fields())>
void decode(const JsonValue &json, Struct &result);

template <class Item>
void decode(const JsonValue &json, std::vector<Item> &result) {
  if (!json.value.is_array()) throw json.misfit("a list");
  result.clear();
  for (std::size_t index = 0; index < json.value.size(); ++index) {
    Item item{};
    decode(json.item(index), item);
    result.push_back(std::move(item));
  }
}

template <class Item>
void decode(const JsonValue &json, std::optional<Item> &result) {
  result.reset();
  if (json.value.is_null()) return;
  Item item{};
  decode(json, item);
  result = std::move(item);
}

// Values by name, in the order of the document.
template <class Item>
void decode(const JsonValue &json, std::vector<std::pair<std::string, Item>> &result) {
  if (!json.value.is_object()) throw json.misfit("an object");
  result.clear();
  for (const auto &[name, value] : json.value.items()) {
    Item item{};
    decode(json.inside(name, value), item);
    result.emplace_back(name, std::move(item));
  }
}

template <class Struct, class>
void decode(const JsonValue &json, Struct &result) {
  if (!json.value.is_object()) throw json.misfit("an object");
  std::vector<std::string> missing;
  const auto check = [&](const auto &field) {
    if (field.is_required && !json.value.contains(field.name)) missing.emplace_back(field.name);
  };
  std::apply([&](const auto &...field) { (check(field), ...); }, Struct::fields());
  if (!missing.empty()) {
    std::sort(missing.begin(), missing.end());
    throw FieldError(json.where() + " lacks " + join(missing, ", "));
  }
  const auto read = [&](const auto &field) {
    if (json.value.contains(field.name)) decode(json.inside(field.name), result.*field.member);
  };
  std::apply([&](const auto &...field) { (read(field), ...); }, Struct::fields());
}

}  // namespace dsunet_runtime
