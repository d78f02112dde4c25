// The grammar of JSON (RFC 8259): whether a text is one value, and where it stops being one. One pass; allocates
// nothing, does not recurse. Refuses nesting deeper than 1024 and nothing else that the grammar allows: numbers of any
// size and lone surrogate escapes pass. Only is_json() checks that the text is UTF-8. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice {

inline constexpr std::size_t kMaxJsonNesting = 1024;

// The fault and its place. Default: no fault.
struct JsonFault {
  const char* what = nullptr;  // "invalid number"
  std::size_t byte = 0;        // from 1; 0: nowhere in particular

  explicit operator bool() const noexcept { return what != nullptr; }
};
[[nodiscard]] std::string to_string(const JsonFault& fault);  // "invalid number at byte 17"

// `nesting`: the deepest that is allowed; less for a text that will stand inside another.
[[nodiscard]] JsonFault check_json_grammar(std::string_view text, std::size_t nesting = kMaxJsonNesting) noexcept;

// The value at the front of a text, such as an element of an array. Without a fault, `size` is its end; the rest is not
// read.
struct JsonFront {
  JsonFault fault;
  std::size_t size = 0;
};
[[nodiscard]] JsonFront check_json_front(std::string_view text, std::size_t nesting = kMaxJsonNesting) noexcept;

// The grammar and UTF-8.
[[nodiscard]] bool is_json(std::string_view text) noexcept;

}  // namespace sluice
