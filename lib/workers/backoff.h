// How long to wait before the next attempt: doubled each time up to a bound, with jitter, and cut by a stop. Pure
// functions; nothing here overflows, whatever the options are.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include "sluice/deadline.h"

namespace sluice::backoff {

// `least` doubled so many times, `most` at most.
[[nodiscard]] inline std::chrono::nanoseconds doubled(std::chrono::nanoseconds least, std::chrono::nanoseconds most,
                                                      std::uint32_t times) noexcept {
  auto wait = std::min(least, most);
  for (; times > 0 && wait < most; --times) wait = std::min(most, sum(wait, wait));
  return wait;
}

// Anything from `least` to `most`: callers that failed together must not come back together.
template <typename Random>
[[nodiscard]] std::chrono::nanoseconds jittered(std::chrono::nanoseconds least, std::chrono::nanoseconds most,
                                                Random& random) {
  return std::chrono::nanoseconds(std::uniform_int_distribution<std::int64_t>(least.count(), most.count())(random));
}

// The instant after that wait; in a stop (a deadline other than max()) a tenth of the time left at most, or the waits
// would use it up.
[[nodiscard]] inline Deadline after(Deadline now, std::chrono::nanoseconds wait, Deadline deadline) noexcept {
  if (deadline != Deadline::max()) {
    wait = std::min(wait, std::max(std::chrono::nanoseconds::zero(), between(now, deadline)) / 10);
  }
  return later(now, wait);
}

}  // namespace sluice::backoff
