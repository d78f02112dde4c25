// UTF-8 (RFC 3629): one code point read or written, a whole text validated. Refuses overlong forms, surrogates and
// values above U+10FFFF. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD, for bytes that are not UTF-8

struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;  // in bytes; 0: the text does not begin with a code point
};

// `text` is not empty.
[[nodiscard]] CodePoint first_code_point(std::string_view text) noexcept;

// For ASCII 8 bytes a step; else one code point a step. The HTTP intake, which validates whole bodies, uses simdjson.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

// Appends a code point. `value` is at most U+10FFFF.
void put_utf8(std::string& to, char32_t value);

}  // namespace sluice
