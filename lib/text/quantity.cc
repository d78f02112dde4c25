// Two tables of units, and one function that reads a number with its unit.
#include "text/quantity.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <span>

namespace sluice {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// From small to large: a text is written with the last one that divides the value.
constexpr std::array<Unit, 5> kDurations{{{"us", 1'000},
                                          {"ms", 1'000'000},
                                          {"s", 1'000'000'000},
                                          {"min", 60ULL * 1'000'000'000},
                                          {"h", 3600ULL * 1'000'000'000}}};
constexpr std::array<Unit, 4> kSizes{{{"B", 1}, {"KiB", 1ULL << 10U}, {"MiB", 1ULL << 20U}, {"GiB", 1ULL << 30U}}};

struct Quantity {
  std::uint64_t number;
  std::string_view unit;
};

std::optional<Quantity> split(std::string_view text) noexcept {
  Quantity quantity{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc{}) return std::nullopt;
  quantity.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return quantity;
}

std::optional<std::uint64_t> scale(const Quantity& quantity, std::span<const Unit> units, std::uint64_t most) noexcept {
  for (const Unit& unit : units) {
    if (unit.name != quantity.unit) continue;
    if (quantity.number > most / unit.factor) return std::nullopt;
    return quantity.number * unit.factor;
  }
  return std::nullopt;
}

const Unit* largest_divisor(std::uint64_t value, std::span<const Unit> units) noexcept {
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) best = &unit;
  }
  return best;
}

}  // namespace

std::optional<std::uint64_t> parse_count(std::string_view text) noexcept {
  const std::optional<Quantity> quantity = split(text);
  if (!quantity || !quantity->unit.empty()) return std::nullopt;
  return quantity->number;
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) noexcept {
  if (text == "0") return std::chrono::nanoseconds{0};
  const std::optional<Quantity> quantity = split(text);
  if (!quantity) return std::nullopt;
  const auto value = scale(*quantity, kDurations, std::numeric_limits<std::int64_t>::max());
  if (!value) return std::nullopt;
  return std::chrono::nanoseconds{static_cast<std::int64_t>(*value)};
}

std::optional<std::size_t> parse_size(std::string_view text) noexcept {
  std::optional<Quantity> quantity = split(text);
  if (!quantity) return std::nullopt;
  if (quantity->unit.empty()) quantity->unit = "B";
  return scale(*quantity, kSizes, std::numeric_limits<std::size_t>::max());
}

std::string duration_text(std::chrono::nanoseconds duration) {
  const auto value = static_cast<std::uint64_t>(duration.count());
  if (value == 0) return "0";
  const Unit* unit = largest_divisor(value, kDurations);
  return fmt::format("{}{}", value / unit->factor, unit->name);
}

std::string size_text(std::size_t bytes) {
  const Unit* unit = largest_divisor(bytes, kSizes);
  if (bytes == 0 || unit->factor == 1) return fmt::to_string(bytes);
  return fmt::format("{}{}", bytes / unit->factor, unit->name);
}

}  // namespace sluice
