// The directional marks are those of Unicode's UAX #9, table 2.1.
#include "ctl/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "text/json_string.h"
#include "text/utf8.h"

namespace sluicectl {

namespace {

bool is_shown(char32_t value) {
  if (value < 0x20 || (value >= 0x7F && value <= 0x9F)) return false;
  if (value == 0x61C || value == 0x200E || value == 0x200F) return false;  // marks
  if (value >= 0x2028 && value <= 0x202E) return false;                    // separators, embeddings, overrides
  return !(value >= 0x2066 && value <= 0x2069) && value != 0xFEFF;         // isolates, byte-order mark
}

// Calls keep(piece) for each code point that may be shown, escape(value) for one that may not, broken(byte) for a byte
// that is not UTF-8.
template <class Keep, class Escape, class Broken>
void each(std::string_view text, Keep keep, Escape escape, Broken broken) {
  while (!text.empty()) {
    const sluice::CodePoint next = sluice::first_code_point(text);
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
      [&](char32_t value) {
        shown +=
            fmt::format(fmt::runtime(value < 0x100 ? "\\x{:02X}" : "\\u{:04X}"), static_cast<std::uint32_t>(value));
      },
      [&](std::uint8_t byte) { shown += fmt::format("\\x{:02X}", byte); });
  return shown;
}

std::string printable_json(std::string_view json) {
  std::string shown;
  each(
      json, [&](std::string_view piece) { shown += piece; },
      [&](char32_t value) {
        const bool is_space = value == '\n' || value == '\r' || value == '\t';
        shown += is_space ? std::string(1, static_cast<char>(value))
                          : fmt::format("\\u{:04x}", static_cast<std::uint32_t>(value));
      },
      [&](std::uint8_t) { shown += sluice::kReplacementCharacter; });
  return shown;
}

bool is_plain(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7F; });
}

std::string run_text(const sluice::RunId& run) {
  std::string id = to_string(sluice::EventId{run, 0});
  id.resize(id.rfind('-'));
  return id;
}

std::string quoted(std::string_view text) { return printable_json(sluice::json_string(text)); }

}  // namespace sluicectl
