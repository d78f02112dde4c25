// Counts, durations and sizes. They are read as a slow reader reads them, which takes digits and a unit apart by the
// grammar and multiplies in 128 bits; and what is written of a value is read as that value.
#include "text/quantity.h"

#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "fuzz.h"

namespace {

using namespace sluice;
using fuzz::must;
__extension__ using Wide = unsigned __int128;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::uint64_t kSecond = 1'000'000'000;

// `[0-9]+UNIT`, up to `most`.
template <std::size_t N>
std::optional<std::uint64_t> slowly(std::string_view text, const std::array<Unit, N>& units, std::uint64_t most) {
  Wide number = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    number = number * 10 + static_cast<unsigned>(text[digits] - '0');
    if (number > std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  }
  if (digits == 0) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.name != text.substr(digits)) continue;
    if (number * unit.factor > most) return std::nullopt;
    return static_cast<std::uint64_t>(number * unit.factor);
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  constexpr auto kMostTime = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const fuzz::Exact exact(fuzz::view(data, size));
  const std::string_view text = exact.view();

  must(parse_count(text) == slowly(text, std::array{Unit{"", 1}}, kMost), "a count", text);

  const auto bytes = parse_size(text);
  must(bytes == slowly(text,
                       std::array{Unit{"", 1}, Unit{"B", 1}, Unit{"KiB", 1U << 10U}, Unit{"MiB", 1U << 20U},
                                  Unit{"GiB", 1U << 30U}},
                       kMost),
       "a size", text);
  if (bytes) must(parse_size(size_text(*bytes)) == bytes, "a size as it is written", size_text(*bytes));

  const auto time = parse_duration(text);
  const auto wanted = text == "0" ? std::optional<std::uint64_t>(0)
                                  : slowly(text,
                                           std::array{Unit{"us", 1000}, Unit{"ms", 1'000'000}, Unit{"s", kSecond},
                                                      Unit{"min", 60 * kSecond}, Unit{"h", 3600 * kSecond}},
                                           kMostTime);
  must(time.has_value() == wanted.has_value(), "a duration or none", text);
  if (!time) return 0;
  must(time->count() >= 0 && static_cast<std::uint64_t>(time->count()) == *wanted, "a duration", text);
  must(parse_duration(duration_text(*time)) == time, "a duration as it is written", duration_text(*time));
  return 0;
}
