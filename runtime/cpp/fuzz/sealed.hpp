// Documents with a digest that fits, so that a fuzzer comes past it.
#pragma once

#include <string>
#include <string_view>

#include "../core/json.hpp"
#include "../core/sha256.hpp"

namespace dsunet_runtime::fuzz {

// A document, which need not be JSON, whose last field is its digest.
inline std::string sealed(std::string_view document) {
  std::string body = canonical_form(document);
  const std::string digest = sha256_of(body);
  if (!body.empty()) body.pop_back();  // its last brace
  return body + ",\"manifest_sha256\":\"" + digest + "\"}";
}

}  // namespace dsunet_runtime::fuzz
