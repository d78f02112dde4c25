// Plain runs are copied whole; escapes are undone one at a time, surrogate pairs joined.
#include "text/json_string.h"

#include <algorithm>

namespace sluice {

namespace {

bool take(std::string_view& rest, std::string_view piece) {
  if (!rest.starts_with(piece)) return false;
  rest.remove_prefix(piece.size());
  return true;
}

// Four hexadecimal digits.
bool read_unit(std::string_view& rest, char32_t& unit) {
  if (rest.size() < 4) return false;
  unit = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(rest[static_cast<std::size_t>(i)]);
    if (digit < 0) return false;
    unit = unit * 16 + static_cast<char32_t>(digit);
  }
  rest.remove_prefix(4);
  return true;
}

// After the backslash.
bool read_escape(std::string_view& rest, std::string& to) {
  if (rest.empty()) return false;
  const char letter = rest.front();
  rest.remove_prefix(1);
  if (const char meaning = json_unescaped(letter); meaning != '\0') {
    to += meaning;
    return true;
  }
  char32_t code = 0;
  if (letter != 'u' || !read_unit(rest, code)) return false;
  if (code >= 0xD800 && code < 0xDC00) {
    char32_t low = 0;
    if (!take(rest, "\\u") || !read_unit(rest, low) || low < 0xDC00 || low > 0xDFFF) return false;
    code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
  }
  put_utf8(to, code);
  return true;
}

}  // namespace

bool read_json_string(std::string_view& rest, std::string& to) {
  while (!rest.empty()) {
    const std::size_t plain = std::min(rest.find_first_of("\"\\"), rest.size());
    to += rest.substr(0, plain);
    rest.remove_prefix(plain);
    if (take(rest, "\"")) return true;
    if (!take(rest, "\\") || !read_escape(rest, to)) return false;
  }
  return false;
}

}  // namespace sluice
