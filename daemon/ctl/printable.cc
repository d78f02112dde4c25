// See the header. UTF-8 by RFC 3629, section 4; the directional marks are those of Unicode's UAX #9, table 2.1.
#include "ctl/printable.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sluicectl {

namespace {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t size = 0;  // in bytes; 0: the first byte begins no code point
};

CodePoint first_of(std::string_view text) {
  const auto at = [text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = at(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  std::uint32_t value = lead & (0xFFU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0U) != 0x80) return {};
    value = value << 6U | (at(i) & 0x3FU);
  }
  constexpr std::array<std::uint32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};  // by size: shorter ones are overlong
  const bool is_surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kLeast[size] || is_surrogate || value > 0x10FFFF) return {};
  return {value, size};
}

bool is_shown(std::uint32_t value) {
  if (value < 0x20 || (value >= 0x7F && value <= 0x9F)) return false;
  if (value == 0x61C || value == 0x200E || value == 0x200F) return false;  // marks
  if (value >= 0x2028 && value <= 0x202E) return false;                    // separators, embeddings, overrides
  return !(value >= 0x2066 && value <= 0x2069) && value != 0xFEFF;         // isolates, byte-order mark
}

// Calls keep(piece) for each code point that may be shown, escape(value) for one that may not, broken(byte) for what is
// no UTF-8.
template <class Keep, class Escape, class Broken>
void each(std::string_view text, Keep keep, Escape escape, Broken broken) {
  while (!text.empty()) {
    const CodePoint next = first_of(text);
    if (next.size == 0) {
      broken(static_cast<std::uint8_t>(text.front()));
    } else if (is_shown(next.value)) {
      keep(text.substr(0, next.size));
    } else {
      escape(next.value);
    }
    text.remove_prefix(std::max<std::size_t>(next.size, 1));
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  each(
      text, [&](std::string_view piece) { shown += piece; },
      [&](std::uint32_t value) {
        shown += fmt::format(fmt::runtime(value < 0x100 ? "\\x{:02X}" : "\\u{:04X}"), value);
      },
      [&](std::uint8_t byte) { shown += fmt::format("\\x{:02X}", byte); });
  return shown;
}

std::string printable_json(std::string_view json) {
  std::string shown;
  each(
      json, [&](std::string_view piece) { shown += piece; },
      [&](std::uint32_t value) {
        const bool is_space = value == '\n' || value == '\r' || value == '\t';
        shown += is_space ? std::string(1, static_cast<char>(value)) : fmt::format("\\u{:04x}", value);
      },
      [&](std::uint8_t) { shown += "\\ufffd"; });
  return shown;
}

std::string quoted(std::string_view text) {
  std::string json = "\"";
  each(
      text,
      [&](std::string_view piece) {
        if (piece == "\"" || piece == "\\") json += '\\';
        json += piece;
      },
      [&](std::uint32_t value) { json += fmt::format("\\u{:04x}", value); }, [&](std::uint8_t) { json += "\\ufffd"; });
  return json += '"';
}

}  // namespace sluicectl
