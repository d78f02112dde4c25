// Checks that a whole text is JSON: RFC 8259 in UTF-8, by the library's grammar and simdjson's check of the encoding.
// Pure; any thread.
//
// Why not simdjson's DOM: it refuses a 30-digit integer and 1e999, which are valid, and its parse_many takes two values
// on a line. Events are only checked here, never parsed into values, so a grammar walk that builds nothing is also
// faster.
#pragma once

#include <cstddef>
#include <string_view>

#include "text/json_check.h"

namespace sluiced::http {

using sluice::check_json_front;
using sluice::check_json_grammar;
using sluice::JsonFault;
using sluice::JsonFront;
using sluice::kMaxJsonNesting;

// `nesting`: the allowed depth, less for a text that becomes a part of another.
[[nodiscard]] JsonFault check_json(std::string_view text, std::size_t nesting = kMaxJsonNesting) noexcept;

// The encoding alone, for texts that arrive together: checking all of them at once is faster.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

// Without the byte order mark that some editors and serializers put at the start; it is not part of JSON.
[[nodiscard]] inline std::string_view without_mark(std::string_view text) noexcept {
  constexpr std::string_view mark = "\xef\xbb\xbf";
  const bool marked = !text.empty() && text.front() == mark.front() && text.starts_with(mark);
  return marked ? text.substr(mark.size()) : text;
}

}  // namespace sluiced::http
