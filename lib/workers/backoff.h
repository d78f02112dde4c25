// The wait before the next attempt: doubled each time up to a bound, with jitter, and shortened in a stop. Pure
// functions, any thread; none overflows, whatever the options are.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include "sluice/deadline.h"

namespace sluice::backoff {

// `min` doubled so many times, `max` at most.
[[nodiscard]] inline std::chrono::nanoseconds doubled(std::chrono::nanoseconds min, std::chrono::nanoseconds max,
                                                      std::uint32_t times) noexcept {
  auto wait = std::min(min, max);
  for (; times > 0 && wait < max; --times) wait = std::min(max, sum(wait, wait));
  return wait;
}

// A random wait from `min` to `max`: callers that failed together must not retry together.
template <typename Random>
[[nodiscard]] std::chrono::nanoseconds jittered(std::chrono::nanoseconds min, std::chrono::nanoseconds max,
                                                Random& random) {
  return std::chrono::nanoseconds(std::uniform_int_distribution<std::int64_t>(min.count(), max.count())(random));
}

// The instant after that wait. In a stop (a deadline other than max()) the wait is at most a tenth of the time left, so
// that waits do not use it up.
[[nodiscard]] inline Deadline after(Deadline now, std::chrono::nanoseconds wait, Deadline deadline) noexcept {
  if (deadline != Deadline::max()) {
    wait = std::min(wait, std::max(std::chrono::nanoseconds::zero(), between(now, deadline)) / 10);
  }
  return later(now, wait);
}

}  // namespace sluice::backoff
