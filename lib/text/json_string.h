// Strings of JSON (RFC 8259, section 7): written with escapes, read without. What is written is valid JSON whatever the
// bytes: bytes that are not UTF-8 become U+FFFD. Pure functions; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "text/ascii.h"
#include "text/utf8.h"

namespace sluice {

[[nodiscard]] constexpr bool needs_json_escape(char c) noexcept {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}

// The first byte that is not ASCII standing for itself, or `end`.
[[nodiscard]] inline const char* skip_plain_json(const char* at, const char* end) noexcept {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  // The top bit of a byte is set if the byte is zero; above a zero byte others may be set too.
  const auto zeros = [](std::uint64_t bytes) { return (bytes - kOnes) & ~bytes; };
  for (std::uint64_t eight = 0; end - at >= 8; at += 8) {
    std::memcpy(&eight, at, sizeof eight);
    const std::uint64_t controls = eight - kOnes * 0x20;
    const std::uint64_t others = zeros(eight ^ kOnes * '"') | zeros(eight ^ kOnes * '\\') | eight;
    if (((controls | others) & kOnes * 0x80) != 0) break;
  }
  while (at != end && static_cast<unsigned char>(*at) < 0x80 && !needs_json_escape(*at)) ++at;
  return at;
}

// The escape of one ASCII character: \" \\ \n \r \t, any other as \u00XX.
class JsonEscape {
 public:
  explicit constexpr JsonEscape(char c) noexcept : text_{'\\', letter_of(c)} {
    if (text_[1] != 'u') return;
    const auto byte = static_cast<unsigned char>(c);
    text_ = {'\\', 'u', '0', '0', kHexDigits[byte >> 4U], kHexDigits[byte & 15U]};
  }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return {text_.data(), text_[1] == 'u' ? 6U : 2U}; }

 private:
  static constexpr char letter_of(char c) noexcept {
    switch (c) {
      case '"':
      case '\\':
        return c;
      case '\n':
        return 'n';
      case '\r':
        return 'r';
      case '\t':
        return 't';
      default:
        return 'u';
    }
  }

  std::array<char, 6> text_;
};

// Calls put(std::string_view) with the pieces of the string, its quotes included.
template <class Put>
void put_json_string(std::string_view text, Put put) {
  const char* written = text.data();  // up to here
  const char* at = written;
  const char* const end = written + text.size();
  const auto put_between = [&put](const char* from, const char* to) {
    if (from != to) put(std::string_view(from, static_cast<std::size_t>(to - from)));
  };
  put(std::string_view("\""));
  while ((at = skip_plain_json(at, end)) != end) {
    if (needs_json_escape(*at)) {
      put_between(written, at);
      put(JsonEscape(*at).text());
      written = ++at;
    } else if (const std::size_t size = first_code_point({at, static_cast<std::size_t>(end - at)}).size; size != 0) {
      at += size;
    } else {
      put_between(written, at);
      put(kReplacementCharacter);
      written = ++at;
    }
  }
  put_between(written, end);
  put(std::string_view("\""));
}

[[nodiscard]] inline std::string json_string(std::string_view text) {
  std::string json;
  put_json_string(text, [&json](std::string_view piece) { json += piece; });
  return json;
}

// What the letter after a backslash means: `n` is a line feed. 0 if it means nothing, as `u`, which is not one letter.
[[nodiscard]] constexpr char json_unescaped(char letter) noexcept {
  constexpr std::string_view kLetters = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  const std::size_t at = kLetters.find(letter);
  return at == std::string_view::npos ? '\0' : kMeanings[at];
}

// Appends what a string means and removes it from `rest`, which begins after the opening quote; its closing quote is
// removed as well. False if it is not a string of JSON; `rest` and `to` are then of no use.
[[nodiscard]] bool read_json_string(std::string_view& rest, std::string& to);

}  // namespace sluice
