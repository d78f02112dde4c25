// Is this text JSON? RFC 8259 in UTF-8, the whole text or nothing. Pure; any thread. It refuses nesting deeper than
// 1024, and nothing else that the grammar allows: numbers of any size and lone surrogate escapes pass.
//
// Why not simdjson's DOM: it refuses a 30-digit integer and 1e999, which are valid, and its parse_many takes two values
// on a line. Events are only checked here, never taken apart; so a grammar walk that builds nothing is also the faster
// way.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluiced::http {

inline constexpr std::size_t kMaxJsonNesting = 1024;

// What is wrong, and where. A default one says that nothing is.
struct JsonFault {
  const char* what = nullptr;  // "invalid number"
  std::size_t byte = 0;        // from 1; 0: nowhere in particular

  explicit operator bool() const noexcept { return what != nullptr; }
};
[[nodiscard]] std::string to_string(const JsonFault& fault);  // "invalid number at byte 17"

// `nesting`: how much of it is allowed, for a text that is to stand inside another.
[[nodiscard]] JsonFault check_json(std::string_view text, std::size_t nesting = kMaxJsonNesting) noexcept;

// The two halves of check_json, for texts that arrive together: encoding is checked faster over all of them at once.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;
[[nodiscard]] JsonFault check_json_grammar(std::string_view text, std::size_t nesting = kMaxJsonNesting) noexcept;

}  // namespace sluiced::http
