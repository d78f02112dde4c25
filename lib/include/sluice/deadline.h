// Deadlines on the steady clock, and arithmetic that ends where the clock ends: a sum beyond its range is "for ever"
// (or the far past), never a wrapped number. Pure functions, but for deadline_in() and time_left(), which read the
// clock; any thread. Everything here that adds to, or subtracts from, a deadline or duration of a caller goes through
// this file.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <utility>

namespace sluice {

using Deadline = std::chrono::steady_clock::time_point;
static_assert(std::same_as<Deadline::duration, std::chrono::nanoseconds>);

// Any integral duration in nanoseconds, which hold 292 years: a longer one is nanoseconds::max().
template <std::integral Rep, class Period>
[[nodiscard]] constexpr std::chrono::nanoseconds nanoseconds_of(std::chrono::duration<Rep, Period> duration) noexcept {
  using Wide = std::chrono::duration<std::int64_t, Period>;
  constexpr auto kLongest = std::chrono::duration_cast<Wide>(std::chrono::nanoseconds::max()).count();
  constexpr auto kShortest = std::chrono::duration_cast<Wide>(std::chrono::nanoseconds::min()).count();
  if (std::cmp_greater(duration.count(), kLongest)) return std::chrono::nanoseconds::max();
  if (std::cmp_less(duration.count(), kShortest)) return std::chrono::nanoseconds::min();
  return Wide(static_cast<std::int64_t>(duration.count()));
}

[[nodiscard]] constexpr std::chrono::nanoseconds sum(std::chrono::nanoseconds a, std::chrono::nanoseconds b) noexcept {
  using std::chrono::nanoseconds;
  if (b > nanoseconds::zero() && a > nanoseconds::max() - b) return nanoseconds::max();
  if (b < nanoseconds::zero() && a < nanoseconds::min() - b) return nanoseconds::min();
  return a + b;
}

// from + by. Deadline::max() stays "for ever", whatever is subtracted.
[[nodiscard]] constexpr Deadline later(Deadline from, std::chrono::nanoseconds by) noexcept {
  if (from == Deadline::max()) return from;
  return Deadline(sum(from.time_since_epoch(), by));
}

// to - from.
[[nodiscard]] constexpr std::chrono::nanoseconds between(Deadline from, Deadline to) noexcept {
  using std::chrono::nanoseconds;
  const nanoseconds start = from.time_since_epoch();
  // The negative of min() is one more than max().
  if (start == nanoseconds::min()) return sum(sum(to.time_since_epoch(), nanoseconds::max()), nanoseconds(1));
  return sum(to.time_since_epoch(), -start);
}

// From now on.
template <std::integral Rep, class Period>
[[nodiscard]] Deadline deadline_in(std::chrono::duration<Rep, Period> at_most) noexcept {
  return later(std::chrono::steady_clock::now(), nanoseconds_of(at_most));
}

// Not negative: zero once the deadline has passed.
[[nodiscard]] inline std::chrono::nanoseconds time_left(Deadline deadline) noexcept {
  const Deadline now = std::chrono::steady_clock::now();
  return deadline > now ? between(now, deadline) : std::chrono::nanoseconds::zero();
}

}  // namespace sluice
