// JSON text of objects with numbers, text, lists and other objects.
#pragma once

#include <cstdio>
#include <string>
#include <type_traits>
#include <vector>

class JsonObject {
 public:
  template <class Value>
  JsonObject &add(const std::string &key, const Value &value) {
    text_ += (text_.empty() ? "" : ", ") + quoted(key) + ": " + json(value);
    return *this;
  }

  JsonObject &add_null(const std::string &key) {
    text_ += (text_.empty() ? "" : ", ") + quoted(key) + ": null";
    return *this;
  }

  std::string text() const { return "{" + text_ + "}"; }

 private:
  static std::string quoted(const std::string &text) {
    std::string result = "\"";
    for (const char byte : text) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(byte));
      const bool is_plain = static_cast<unsigned char>(byte) >= ' ' && byte != '"' && byte != '\\';
      result += is_plain ? std::string(1, byte) : escaped;
    }
    return result + "\"";
  }

  static std::string json(const JsonObject &value) { return value.text(); }
  static std::string json(const std::string &value) { return quoted(value); }
  static std::string json(const char *value) { return quoted(value); }
  static std::string json(bool value) { return value ? "true" : "false"; }

  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  static std::string json(Number value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", static_cast<double>(value));
    return text;
  }

  static std::string json(const std::vector<JsonObject> &values) {
    std::string result;
    for (const JsonObject &value : values) result += (result.empty() ? "" : ", ") + value.text();
    return "[" + result + "]";
  }

  std::string text_;
};
