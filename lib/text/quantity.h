// Counts, durations and sizes as written in flags and URLs, read and written. Refuses anything beside the grammar:
// signs, blanks, fractions, overflow. Pure functions; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

// Decimal digits, nothing else.
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text) noexcept;

// `0`, or an integer with its unit: us ms s min h. At most 292 years, the range of nanoseconds.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) noexcept;

// An integer: bare (bytes) or with B KiB MiB GiB.
[[nodiscard]] std::optional<std::size_t> parse_size(std::string_view text) noexcept;

// The shortest exact text that the parsers above read as the same value: 24h, 100ms, 0; 64KiB, 1000.
// Fractions of a microsecond, which no flag can hold, are cut off.
[[nodiscard]] std::string duration_text(std::chrono::nanoseconds duration);
[[nodiscard]] std::string size_text(std::size_t bytes);

}  // namespace sluice
