#include "message_text.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace dsunet_runtime {
namespace {

constexpr std::size_t kMostBytesOfMessage = 20000;
constexpr std::string_view kEllipsis = "\u2026";

// A decoded character, and how many bytes it took; a byte that is not UTF-8 is one character.
struct Character {
  std::uint32_t code;
  std::size_t length;
  bool is_valid;
};

Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t index) -> std::uint32_t {
    return index < text.size() ? static_cast<unsigned char>(text[index]) : 0;
  };
  const std::uint32_t first = byte(at);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  std::uint32_t code = first & (0xFFu >> (length + 1));
  for (std::size_t index = 1; index < length; ++index) {
    if ((byte(at + index) & 0xC0) != 0x80) return {first, 1, false};
    code = code << 6 | (byte(at + index) & 0x3F);
  }
  const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (first < 0xC2 || first > 0xF4 || code < kSmallest[length] || code > 0x10FFFF || is_surrogate) {
    return {first, 1, false};
  }
  return {code, length, true};
}

// Ranges of characters beyond ASCII that terminals do not draw: controls, format characters,
// separators, private use and what is not a character.
bool is_drawn(std::uint32_t code) {
  constexpr std::uint32_t kHidden[][2] = {
      {0x80, 0xA0},     {0xAD, 0xAD},       {0x600, 0x605},   {0x61C, 0x61C},   {0x6DD, 0x6DD},
      {0x70F, 0x70F},   {0x1680, 0x1680},   {0x180E, 0x180E}, {0x2000, 0x200F}, {0x2028, 0x202F},
      {0x205F, 0x206F}, {0x3000, 0x3000},   {0xE000, 0xF8FF}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB},
      {0xFFFE, 0xFFFF}, {0xE0000, 0x10FFFF}};
  if (code < 0x80) return code >= 0x20 && code != 0x7F;
  return std::none_of(std::begin(kHidden), std::end(kHidden),
                      [code](const auto &range) { return range[0] <= code && code <= range[1]; });
}

std::string escape(const Character &character) {
  char buffer[16];
  switch (character.is_valid ? character.code : 0x100) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  const char *format = character.code > 0xFFFF ? "\\U%08x"
                       : character.code > 0xFF ? "\\u%04x"
                                               : "\\x%02x";
  std::snprintf(buffer, sizeof buffer, format, static_cast<unsigned>(character.code));
  return buffer;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (character.is_valid && is_drawn(character.code)) {
      result += text.substr(at, character.length);
    } else {
      result += escape(character);
    }
    at += character.length;
  }
  return result;
}

bool is_space(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

// White space as single spaces, as Python's `" ".join(text.split())`.
std::string on_one_line(std::string_view text) {
  std::string line;
  for (const char byte : text) {
    if (!is_space(byte)) {
      line += byte;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// The bytes of the first `count` characters, or of all.
std::size_t bytes_of(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; count > 0 && at < text.size(); --count) at += character_at(text, at).length;
  return at;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  const std::size_t taken = bytes_of(text, 4 * limit);
  std::string cleaned = escaped(on_one_line(text.substr(0, taken)));
  if (taken == text.size() && bytes_of(cleaned, limit) == cleaned.size()) return cleaned;
  cleaned.resize(bytes_of(cleaned, limit - 1));
  return cleaned += kEllipsis;
}

std::string quote(std::string_view text, std::size_t limit) {
  return "'" + printable(text, limit) + "'";
}

std::string shorten(const std::vector<std::string> &names, std::size_t shown) {
  std::vector<std::string> first;
  for (std::size_t index = 0; index < std::min(shown, names.size()); ++index) {
    first.push_back(printable(names[index], 80));
  }
  std::string text = join(first, ", ");
  if (names.size() > shown) text += " and " + with_commas(names.size() - shown) + " more";
  return text;
}

std::string clean(std::string_view message) {
  return escaped(message.substr(0, kMostBytesOfMessage));
}

std::string join(const std::vector<std::string> &parts, std::string_view separator) {
  std::string text;
  for (std::size_t index = 0; index < parts.size(); ++index) {
    if (index > 0) text += separator;
    text += parts[index];
  }
  return text;
}

std::string with_commas(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string three_digits(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", value);
  return buffer;
}

std::string shell_quoted(const std::string &argument) {
  const auto is_plain = [](unsigned char byte) {
    return std::isalnum(byte) ||
           std::string_view("@%+=:,./-_").find(byte) != std::string_view::npos;
  };
  if (!argument.empty() && std::all_of(argument.begin(), argument.end(), is_plain)) return argument;
  std::string quoted = "'";
  for (const char byte : argument)
    quoted += byte == '\'' ? std::string("'\"'\"'") : std::string(1, byte);
  return quoted + "'";
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (!character.is_valid) return false;
    at += character.length;
  }
  return true;
}

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

}  // namespace dsunet_runtime
