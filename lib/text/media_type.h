// A media type (RFC 9110, section 8.3), such as the value of Content-Type: its name without parameters, and a parameter
// by name. Case does not count. Views into the text; any thread. Refuses nothing: of a text that is no media type it
// says what stands where a name would.
#pragma once

#include <string_view>

#include "text/ascii.h"

namespace sluice {

class MediaType {
 public:
  explicit constexpr MediaType(std::string_view text) noexcept
      : name_(trimmed(text.substr(0, text.find(';')))),
        parameters_(text.substr(std::min(text.find(';'), text.size()))) {}

  [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }  // "text/html"

  // Nearly all write media types in lower case, so that comparison comes first.
  [[nodiscard]] constexpr bool is(std::string_view name) const noexcept {
    return name_ == name || equal_without_case(name_, name);
  }
  [[nodiscard]] bool has_suffix(std::string_view suffix) const noexcept;  // application/x+json has "+json"
  [[nodiscard]] std::string_view subtype() const noexcept;                // "html"; empty without a slash
  [[nodiscard]] constexpr bool is_text() const noexcept { return equal_without_case(name_.substr(0, 5), "text/"); }

  // The value of a parameter, without quotes; empty if there is none.
  [[nodiscard]] std::string_view parameter(std::string_view name) const noexcept;

 private:
  std::string_view name_;
  std::string_view parameters_;  // from the first semicolon on
};

}  // namespace sluice
