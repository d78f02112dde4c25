// The characters of HTTP (RFC 9110, 5.5 and 5.6.2). Pure functions; any thread.
#pragma once

#include <string_view>

#include "text/ascii.h"

namespace sluiced::http {

using sluice::equal_without_case;
using sluice::is_blank;
using sluice::is_digit;
using sluice::is_letter;
using sluice::lower;
using sluice::trimmed;

// Of a method or a field's name.
[[nodiscard]] constexpr bool is_token(char c) noexcept {
  return is_digit(c) || is_letter(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Of a field's value: no control character but the tab; what is not ASCII is let through.
[[nodiscard]] constexpr bool is_field_text(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace sluiced::http
