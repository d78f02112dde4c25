// What has become of accepted events, as counters that workers add to, a batch at a time, and anybody may read, a
// signal handler too. `accepted` is the queue's count. Finished events are counted before their ticket goes back:
// whoever has waited for the last ticket sees them all.
#pragma once

#include <atomic>
#include <cstdint>

#include "sluice/report.h"

namespace sluice {

class Ledger {
 public:
  void add_delivered(std::uint64_t n) noexcept { delivered_.fetch_add(n); }
  void add_dead(std::uint64_t n) noexcept { dead_.fetch_add(n); }
  void add_lost(std::uint64_t n) noexcept { lost_.fetch_add(n); }

  // `accepted` must be read after this: what is finished was accepted before.
  struct Finished {
    std::uint64_t delivered, dead, lost;
    [[nodiscard]] std::uint64_t all() const noexcept { return delivered + dead + lost; }
  };
  [[nodiscard]] Finished finished() const noexcept { return {delivered_.load(), dead_.load(), lost_.load()}; }

  // The rest is kept, whatever it is: the books balance by construction, and tests hold `kept` against the tickets out.
  [[nodiscard]] static Books books(Finished finished, std::uint64_t accepted) noexcept {
    return {.accepted = accepted,
            .delivered = finished.delivered,
            .dead = finished.dead,
            .kept = accepted - finished.all(),
            .lost = finished.lost,
            .replayed = 0};
  }

 private:
  alignas(64) std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> dead_{0};
  std::atomic<std::uint64_t> lost_{0};
};

}  // namespace sluice
