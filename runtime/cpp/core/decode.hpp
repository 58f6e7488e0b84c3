// Structs from JSON values: each is declared once, as a table of its fields (plain_values.py).
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

#include "json.hpp"
#include "text.hpp"

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

// A value and its path in the document.
struct At {
  const Json &value;
  std::string path;

  std::string where() const { return path.empty() ? "it" : path; }

  At inside(const std::string &name) const { return inside(name, value.at(name)); }

  At inside(const std::string &name, const Json &of_name) const {
    const std::string shown_name = printable(name, 40);
    return {of_name, path.empty() ? shown_name : path + "." + shown_name};
  }

  At item(std::size_t index) const {
    return {value.at(index), path + "[" + std::to_string(index) + "]"};
  }

  FieldError misfit(const std::string &wanted) const {
    const std::string found = value.is_string() ? quote(value.get_ref<const std::string &>())
                                                : printable(in_json(value), 80);
    return FieldError(where() + " is " + found + ", not " + wanted);
  }
};

void decode(const At &at, bool &result);
void decode(const At &at, std::int64_t &result);
void decode(const At &at, double &result);
void decode(const At &at, std::string &result);
void decode(const At &at, Json &result);
void decode(const At &at, std::array<double, 3> &result);

// A number, or the name of a dynamic axis.
using Dimension = std::variant<std::int64_t, std::string>;
void decode(const At &at, Dimension &result);

template <class Struct, class = decltype(Struct::fields())>
void decode(const At &at, Struct &result);

template <class Item>
void decode(const At &at, std::vector<Item> &result) {
  if (!at.value.is_array()) throw at.misfit("a list");
  result.clear();
  for (std::size_t index = 0; index < at.value.size(); ++index) {
    Item item{};
    decode(at.item(index), item);
    result.push_back(std::move(item));
  }
}

template <class Item>
void decode(const At &at, std::optional<Item> &result) {
  result.reset();
  if (at.value.is_null()) return;
  Item item{};
  decode(at, item);
  result = std::move(item);
}

// Values by name, in the order of the document.
template <class Item>
void decode(const At &at, std::vector<std::pair<std::string, Item>> &result) {
  if (!at.value.is_object()) throw at.misfit("an object");
  result.clear();
  for (const auto &[name, value] : at.value.items()) {
    Item item{};
    decode(at.inside(name, value), item);
    result.emplace_back(name, std::move(item));
  }
}

template <class Struct, class>
void decode(const At &at, Struct &result) {
  if (!at.value.is_object()) throw at.misfit("an object");
  std::vector<std::string> missing;
  const auto check = [&](const auto &field) {
    if (field.is_required && !at.value.contains(field.name)) missing.emplace_back(field.name);
  };
  std::apply([&](const auto &...field) { (check(field), ...); }, Struct::fields());
  if (!missing.empty()) {
    std::sort(missing.begin(), missing.end());
    throw FieldError(at.where() + " lacks " + join(missing, ", "));
  }
  const auto read = [&](const auto &field) {
    if (at.value.contains(field.name)) decode(at.inside(field.name), result.*field.member);
  };
  std::apply([&](const auto &...field) { (read(field), ...); }, Struct::fields());
}

}  // namespace dsunet_runtime
