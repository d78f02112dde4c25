// Base64 (RFC 4648, section 4: `+` and `/`, with padding). Refuses, when reading, anything else between the digits.
// Pure functions; any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace sluice {

// How many characters so many bytes take.
[[nodiscard]] constexpr std::size_t base64_size(std::size_t bytes) noexcept { return (bytes + 2) / 3 * 4; }

// Writes base64_size(bytes.size()) characters; returns the end of what it wrote.
char* write_base64(std::span<const std::byte> bytes, char* to) noexcept;

// Calls put(std::string_view) with the text, in pieces of at most 1 KiB.
template <class Put>
void put_base64(std::span<const std::byte> bytes, Put put) {
  std::array<char, 1024> text;
  constexpr std::size_t kBytes = text.size() / 4 * 3;
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), kBytes);
    const char* const end = write_base64(bytes.first(n), text.data());
    put(std::string_view(text.data(), static_cast<std::size_t>(end - text.data())));
    bytes = bytes.subspan(n);
  }
}

// Appends the bytes; false if `text` is not base64.
[[nodiscard]] bool read_base64(std::string_view text, std::string& to);

[[nodiscard]] bool is_base64_digit(char c) noexcept;  // `=` is padding, not a digit

}  // namespace sluice
