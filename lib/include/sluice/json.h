// The grammar of JSON (RFC 8259): whether a text is one value, and where it stops being one. Pure; any thread; one
// pass, which allocates nothing and does not recurse. It refuses nesting deeper than 1024, and nothing else that the
// grammar allows: numbers of any size and lone surrogate escapes pass. That the text is UTF-8 is the caller's to know.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "sluice/api.h"

namespace sluice {

inline constexpr std::size_t kMaxJsonNesting = 1024;

// What is wrong, and where. A default one says that nothing is.
struct JsonFault {
  const char* what = nullptr;  // "invalid number"
  std::size_t byte = 0;        // from 1; 0: nowhere in particular

  explicit operator bool() const noexcept { return what != nullptr; }
};
[[nodiscard]] SLUICE_API std::string to_string(const JsonFault& fault);  // "invalid number at byte 17"

// `nesting`: how much of it is allowed, for a text that is to stand inside another.
[[nodiscard]] SLUICE_API JsonFault check_json_grammar(std::string_view text,
                                                      std::size_t nesting = kMaxJsonNesting) noexcept;

// The one value at the front of a text, such as an element of an array. Without a fault, `size` is where it ends; what
// follows there is not looked at.
struct JsonFront {
  JsonFault fault;
  std::size_t size = 0;
};
[[nodiscard]] SLUICE_API JsonFront check_json_front(std::string_view text,
                                                    std::size_t nesting = kMaxJsonNesting) noexcept;

}  // namespace sluice
