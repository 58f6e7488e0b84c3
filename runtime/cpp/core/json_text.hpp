// Strict parsing of untrusted JSON, within the bounds of json_text.py.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dsunet_runtime {

// Objects keep the order of their keys.
using Json = nlohmann::ordered_json;

constexpr std::size_t kMostBytesOfJson = 64u << 20;

// The text is not JSON or exceeds a bound; the message completes a sentence about it.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Parse a document that must be an object.  Throws JsonError.
Json parse_object(std::string_view text);

// A value as Python's `json.dumps(value, ensure_ascii=False)` writes it.
std::string in_json(const Json &value);

// A number as Python's `repr` writes it.
std::string shown(double value);

}  // namespace dsunet_runtime
