// Counts the outcomes of accepted events. Workers add to it, a batch at a time; any thread may read, as may a signal
// handler. `accepted` is the queue's count. Events are counted as finished before their tickets go back, so a thread
// that waited for the last ticket sees all of them.
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

  // Events accepted through the disk; called before a worker can see them.
  void add_accepted(std::uint64_t n) noexcept { accepted_.fetch_add(n); }
  void add_replayed(std::uint64_t n) noexcept {
    replayed_.fetch_add(n);
    accepted_.fetch_add(n);
  }
  [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_.load(); }
  [[nodiscard]] std::uint64_t replayed() const noexcept { return replayed_.load(); }
  [[nodiscard]] std::uint64_t delivered() const noexcept { return delivered_.load(); }

  // Read `accepted` after this: each finished event was accepted before.
  struct Finished {
    std::uint64_t delivered, dead, lost;
    [[nodiscard]] std::uint64_t all() const noexcept { return delivered + dead + lost; }
    friend bool operator==(const Finished&, const Finished&) = default;
  };
  [[nodiscard]] Finished finished() const noexcept { return {delivered_.load(), dead_.load(), lost_.load()}; }

  // `kept` is the rest, so the books balance by construction; tests compare it with the tickets out.
  [[nodiscard]] static Books books(Finished finished, std::uint64_t accepted, std::uint64_t replayed) noexcept {
    return {.accepted = accepted,
            .delivered = finished.delivered,
            .dead = finished.dead,
            .kept = accepted - finished.all(),
            .lost = finished.lost,
            .replayed = replayed};
  }

 private:
  alignas(64) std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> dead_{0};
  std::atomic<std::uint64_t> lost_{0};
  alignas(64) std::atomic<std::uint64_t> accepted_{0};
  std::atomic<std::uint64_t> replayed_{0};
};

}  // namespace sluice
