// When to log what others can cause as often as they like: a sink that refuses events, a client that comes and goes. At
// once, then once an interval with how many there were, so that nobody fills the log. One object a kind of news, shared
// by all who have it. Any thread. It says when, and writes nothing.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

namespace sluice {

class LogLimit {
 public:
  using Clock = std::chrono::steady_clock;

  explicit LogLimit(Clock::duration every) noexcept : every_(every) {}

  // `more` have come. How many a line stands for that is logged now, those before it included that no line stood for;
  // 0: be silent.
  [[nodiscard]] std::uint64_t tell(std::uint64_t more = 1, Clock::time_point now = Clock::now()) {
    const std::lock_guard lock(mutex_);
    since_ += more;
    return take(now);
  }

  // Those that no line has stood for, once a line may be logged by `now` (the largest there is: at once); 0: there are
  // none, or not yet.
  [[nodiscard]] std::uint64_t tell_rest(Clock::time_point now) {
    if (now < rest_due()) return 0;
    const std::lock_guard lock(mutex_);
    return take(now);
  }
  // When tell_rest() is due; without a rest never. Costs a load: relaxed, since who sees it late tells it late.
  [[nodiscard]] Clock::time_point rest_due() const noexcept {
    return Clock::time_point(Clock::duration(rest_due_.load(std::memory_order_relaxed)));
  }

 private:
  static constexpr Clock::rep kNever = Clock::time_point::max().time_since_epoch().count();

  // `mutex_` is held.
  std::uint64_t take(Clock::time_point now) {
    const bool due = now >= next_;
    if (due && since_ > 0) next_ = std::min(now, Clock::time_point::max() - every_) + every_;
    const bool rest = !due && since_ > 0;
    rest_due_.store(rest ? next_.time_since_epoch().count() : kNever, std::memory_order_relaxed);
    return due ? std::exchange(since_, 0) : 0;
  }

  const Clock::duration every_;
  std::mutex mutex_;
  Clock::time_point next_{};  // guarded by mutex_; no line before it
  std::uint64_t since_ = 0;   // guarded by mutex_; that no line has stood for
  std::atomic<Clock::rep> rest_due_{kNever};
};

}  // namespace sluice
