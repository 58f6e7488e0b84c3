// Text of messages: untrusted text is shortened and made printable (message_text.py).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dsunet_runtime {

// The text on one line of at most `limit` characters; longer text is cut and ends in "…".
std::string printable(std::string_view text, std::size_t limit = 300);

// Printable text in single quotes.
std::string quote(std::string_view text, std::size_t limit = 80);

// The first names, printable, and the number of the others.
std::string shorten(const std::vector<std::string> &names, std::size_t shown = 2);

// A whole message made printable; paths in it are not shortened.
std::string clean(std::string_view message);

std::string join(const std::vector<std::string> &parts, std::string_view separator);

// 1234567 as "1,234,567".
std::string with_commas(std::int64_t value);

// A number with three significant digits, as Python's format "{:.3g}".
std::string three_digits(double value);

// An argument of a POSIX shell.
std::string shell_quoted(const std::string &argument);

bool is_utf8(std::string_view text);

bool ends_with(std::string_view text, std::string_view ending);

}  // namespace dsunet_runtime
