// Documents with a valid digest, so that a fuzzer reaches the code after the check.
#pragma once

#include <string>
#include <string_view>

#include "../core/artifact/document.hpp"
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
