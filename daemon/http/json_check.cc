// simdjson's validation of UTF-8 before the library's grammar. Pure.
#include "http/json_check.h"

#include <simdjson.h>

namespace sluiced::http {

JsonFault check_json(std::string_view text, std::size_t nesting) noexcept {
  return is_utf8(text) ? check_json_grammar(text, nesting) : JsonFault{"invalid UTF-8", 0};
}

bool is_utf8(std::string_view text) noexcept { return simdjson::validate_utf8(text.data(), text.size()); }

}  // namespace sluiced::http
