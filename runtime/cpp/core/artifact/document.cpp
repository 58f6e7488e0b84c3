#include "document.hpp"

#include "../sha256.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::string_view kDigestField = ",\"manifest_sha256\":\"";
constexpr std::size_t kDigestDigits = 64;

}  // namespace

std::string canonical_form(std::string_view text) {
  std::string canonical;
  canonical.reserve(text.size());
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char byte = text[at];
    if (in_string && byte == '\\' && at + 1 < text.size()) {
      canonical += byte;
      canonical += text[++at];
      continue;
    }
    if (byte == '"') in_string = !in_string;
    const bool is_space = byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
    if (in_string || !is_space) canonical += byte;
  }
  return canonical;
}

bool is_whole(std::string_view text) {
  const std::string canonical = canonical_form(text);
  const std::size_t length = kDigestField.size() + kDigestDigits + 2;  // and `"}`
  if (canonical.size() < length) return false;
  const std::size_t body = canonical.size() - length;
  const std::string digest = sha256_of(canonical.substr(0, body) + "}");
  return canonical.substr(body) == std::string(kDigestField) + digest + "\"}";
}

}  // namespace dsunet_runtime
