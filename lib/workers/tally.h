// Statistics of one thread for the metrics: a histogram (Tally) and the time it has been busy (BusyTime). One thread
// writes, without a locked instruction; any thread may read. They never decide anything.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sluice/metrics.h"

namespace sluice {

// The upper bounds of the buckets in whole units (events, nanoseconds), ascending, and the number of units in one of
// the shown unit (event, second).
struct Buckets {
  std::span<const std::uint64_t> bounds;
  double unit;
};

inline constexpr std::array<std::uint64_t, 17> kEventBounds{1,   2,    4,    8,    16,   32,    64,    128,  256,
                                                            512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
// From the sync of a fast disk to a sink that hangs, three steps a decade.
inline constexpr std::array<std::uint64_t, 18> kTimeBounds{
    100'000,       250'000,       500'000,       1'000'000,      2'500'000,      5'000'000,
    10'000'000,    25'000'000,    50'000'000,    100'000'000,    250'000'000,    500'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000, 30'000'000'000, 60'000'000'000};
inline constexpr Buckets kEventBuckets{kEventBounds, 1};
inline constexpr Buckets kTimeBuckets{kTimeBounds, 1e9};

class Tally {
 public:
  explicit Tally(Buckets buckets) noexcept : buckets_(buckets) {}

  // The one writer.
  void add(std::uint64_t value) noexcept {
    const auto bucket = std::ranges::lower_bound(buckets_.bounds, value) - buckets_.bounds.begin();
    bump(counts_[static_cast<std::size_t>(bucket)], 1);
    bump(sum_, value);
  }
  void add(std::chrono::nanoseconds value) noexcept {
    add(static_cast<std::uint64_t>(std::max<std::int64_t>(0, value.count())));
  }

  // Adds the counts to `to`, which is empty or has the same buckets.
  void show(Histogram& to) const {
    if (to.counts.empty()) {
      for (const std::uint64_t bound : buckets_.bounds) to.bounds.push_back(static_cast<double>(bound) / buckets_.unit);
      to.counts.resize(buckets_.bounds.size() + 1);
    }
    for (std::size_t i = 0; i < to.counts.size(); ++i) to.counts[i] += counts_[i].load(std::memory_order_relaxed);
    to.sum += static_cast<double>(sum_.load(std::memory_order_relaxed)) / buckets_.unit;
  }

 private:
  // Relaxed: statistics; a reader may find an observation in the counts and not yet in the sum.
  static void bump(std::atomic<std::uint64_t>& number, std::uint64_t by) noexcept {
    number.store(number.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

  const Buckets buckets_;
  std::array<std::atomic<std::uint64_t>, std::max(kEventBounds.size(), kTimeBounds.size()) + 1> counts_{};
  std::atomic<std::uint64_t> sum_{0};
};

// The sum of the times from begin() to end(), including one that has not ended: a sink that hangs shows as busy.
class BusyTime {
 public:
  using Clock = std::chrono::steady_clock;

  // The one writer.
  void begin(Clock::time_point now) noexcept { value_.store(value_.load() - now.time_since_epoch().count()); }
  void end(Clock::time_point now) noexcept { value_.store(value_.load() + now.time_since_epoch().count()); }

  // Never less than an earlier result, on any thread.
  [[nodiscard]] std::chrono::nanoseconds so_far() const noexcept {
    const Clock::rep now = Clock::now().time_since_epoch().count();
    const Clock::rep value = value_.load();
    const Clock::rep found = value < 0 ? value + now : value;
    // The writer may be between reading its clock and storing; then an earlier result was too large, and stands.
    Clock::rep shown = shown_.load();
    while (found > shown && !shown_.compare_exchange_weak(shown, found)) {
    }
    return Clock::duration(std::max(found, shown));
  }

 private:
  // Idle: the time so far, >= 0. Busy: that minus the instant of begin(), < 0 because the process is younger than the
  // clock. One number holds both, so no reader sees half of an update.
  std::atomic<Clock::rep> value_{0};
  mutable std::atomic<Clock::rep> shown_{0};
};

}  // namespace sluice
