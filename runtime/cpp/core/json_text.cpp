#include "json_text.hpp"

#include <set>
#include <vector>

#include "message_text.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::size_t kMostLevels = 32;
constexpr std::size_t kMostDigits = 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr int kNumberTooLarge = 406;  // nlohmann's number of the error

// Builds the value while it checks what the library would let pass.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(std::string_view text) : text_(text) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }

  bool number_float(number_float_t value, const string_t &digits) override {
    if (is_integer(digits)) throw beyond_64_bits(digits);
    return add(value);
  }

  bool string(string_t &value) override { return add(value); }
  bool binary(binary_t &) override { return false; }
  bool start_object(std::size_t) override { return enter(Json::object()); }
  bool start_array(std::size_t) override { return enter(Json::array()); }
  bool end_array() override { return leave(); }
  bool end_object() override { return leave(); }

  bool key(string_t &name) override {
    if (!levels_.back().names.insert(name).second) {
      throw JsonError("has the key " + quote(name) + " twice in one object");
    }
    levels_.back().key = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string &token,
                   const nlohmann::detail::exception &error) override {
    const std::string_view rest = text_.substr(position > 0 ? position - 1 : 0);
    for (const std::string_view name : {"NaN", "Infinity"}) {
      const bool is_negative = position > 1 && text_[position - 2] == '-';
      if (rest.substr(0, name.size()) != name || (name == "NaN" && is_negative)) continue;
      throw JsonError("contains " + std::string(is_negative ? "-" : "") + std::string(name) +
                      ", which is not JSON");
    }
    if (error.id == kNumberTooLarge) {
      if (is_integer(token)) throw beyond_64_bits(token);
      throw JsonError("contains a number too large for a float: " + printable(token, kMostDigits));
    }
    throw JsonError("is not JSON: " + printable(error.what()));
  }

 private:
  struct Level {
    Json *container;
    std::string key;
    std::set<std::string> names;
  };

  static bool is_integer(const std::string &digits) {
    return digits.find_first_of(".eE") == std::string::npos;
  }

  static JsonError beyond_64_bits(const std::string &digits) {
    return JsonError("contains an integer beyond 64 bits: " + printable(digits, kMostDigits));
  }

  bool enter(Json container) {
    if (levels_.size() == kMostLevels) {
      throw JsonError("is nested more than " + std::to_string(kMostLevels) + " levels deep");
    }
    levels_.push_back({place(std::move(container)), {}, {}});
    return true;
  }

  bool leave() {
    levels_.pop_back();
    return true;
  }

  template <class Value>
  bool add(Value &&value) {
    place(Json(std::forward<Value>(value)));
    return true;
  }

  // A container's address stays valid while it is open: nothing is added beside it until it is
  // left.
  Json *place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level &level = levels_.back();
    if (level.container->is_array()) {
      level.container->push_back(std::move(value));
      return &level.container->back();
    }
    // The key is new.  The object's own functions would look for it among all others.
    auto &object = level.container->get_ref<Json::object_t &>();
    object.emplace_back(std::move(level.key), std::move(value));
    return &object.back().second;
  }

  std::string_view text_;
  Json root_;
  std::vector<Level> levels_;
};

std::string type_in_python(const Json &value) {
  if (value.is_array()) return "list";
  if (value.is_string()) return "str";
  if (value.is_boolean()) return "bool";
  if (value.is_null()) return "NoneType";
  return value.is_number_float() ? "float" : "int";
}

}  // namespace

Json parse_object(std::string_view text) {
  if (text.size() > kMostBytesOfJson) {
    throw JsonError("has " + with_commas(static_cast<std::int64_t>(text.size())) +
                    " bytes; the limit is " + with_commas(kMostBytesOfJson));
  }
  // The parser skips the one and stops at the other.
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    throw JsonError("is not JSON: it begins with a byte order mark");
  }
  if (text.find('\0') != std::string_view::npos) {
    throw JsonError("is not JSON: it contains a NUL character");
  }
  Builder builder(text);
  Json::sax_parse(text, &builder);
  Json value = builder.take();
  if (!value.is_object()) throw JsonError("is a " + type_in_python(value) + ", not an object");
  return value;
}

std::string in_json(const Json &value) {
  if (!value.is_structured()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<std::string> parts;
  for (const auto &[name, item] : value.items()) {
    parts.push_back(value.is_object() ? Json(name).dump() + ": " + in_json(item) : in_json(item));
  }
  const std::string inside = join(parts, ", ");
  return value.is_object() ? "{" + inside + "}" : "[" + inside + "]";
}

std::string shown(double value) { return Json(value).dump(); }

}  // namespace dsunet_runtime
