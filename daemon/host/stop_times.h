// When the stop was requested, and its deadline. Written by signal handlers: several at once on different threads, or
// one inside another. Read by any thread. Lock-free atomics only, all sequentially consistent. A signal is counted
// last, so a reader that sees the count sees the deadline too.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "sluice/deadline.h"

namespace sluiced::host {

class StopTimes {
 public:
  static constexpr std::int64_t kNever = std::chrono::nanoseconds::max().count();
  // The dangerous instants of a handler, in their order; only tests act at them.
  enum class Instant : std::uint8_t { entered, timed };

  // Called in a handler, at `now` on the steady clock. The first signal sets the deadline to now + timeout, the second
  // moves it to now, and both leave at least `least`; later ones change nothing. `arm(deadline)` arms the backstop; it
  // runs before the signal is counted, and again if another handler moves the deadline meanwhile.
  template <class Arm, class At>
  void ask(std::chrono::nanoseconds now, std::chrono::nanoseconds least, std::chrono::nanoseconds timeout, Arm arm,
           At at) noexcept {
    const std::size_t earlier = asked_.fetch_add(1);
    if (earlier >= 2) return;
    at(Instant::entered);
    // The handler of the first signal may be interrupted before this line, so the second sets the time as well.
    std::int64_t none = kNever;
    first_.compare_exchange_strong(none, now.count());
    const std::int64_t end = sluice::sum(now, earlier == 0 ? std::max(timeout, least) : least).count();
    std::int64_t old = deadline_.load();
    while (end < old && !deadline_.compare_exchange_weak(old, end)) {
    }
    at(Instant::timed);
    for (std::int64_t armed = kNever; armed != deadline_.load();) {
      armed = deadline_.load();
      arm(std::chrono::nanoseconds(armed));
    }
    stops_.fetch_add(1);
  }

  // 0, 1 or 2. The times are set once it is not 0.
  [[nodiscard]] std::size_t stops() const noexcept { return stops_.load(); }
  [[nodiscard]] sluice::Deadline first() const noexcept {
    return sluice::Deadline(std::chrono::nanoseconds(first_.load()));
  }
  [[nodiscard]] sluice::Deadline deadline() const noexcept {
    return sluice::Deadline(std::chrono::nanoseconds(deadline_.load()));
  }

 private:
  std::atomic<std::size_t> asked_{0};  // handlers that have begun
  std::atomic<std::size_t> stops_{0};  // handlers that have set the times
  std::atomic<std::int64_t> first_{kNever};
  std::atomic<std::int64_t> deadline_{kNever};  // only comes nearer
  static_assert(std::atomic<std::size_t>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);
};

}  // namespace sluiced::host
