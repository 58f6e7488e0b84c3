// The JSON text of a manifest, which ends in its SHA-256 (artifact/document.py).
#pragma once

#include <string>
#include <string_view>

namespace dsunet_runtime {

// A JSON document without white space outside strings.
std::string canonical_form(std::string_view text);

// Whether a JSON document ends in the SHA-256 of the text before it.
bool is_whole(std::string_view text);

}  // namespace dsunet_runtime
