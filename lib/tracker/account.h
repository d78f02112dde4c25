// The counts of a tracker, put together from the queue and the ledger. It owns one number itself: how
// many events a stop has written off. Any thread, at any time; books() and books_at_exit() are async-signal-safe. It
// changes nothing but that number.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "backlog/unrecorded.h"
#include "queue/event_queue.h"
#include "sluice/report.h"
#include "tracker/disked.h"
#include "workers/ledger.h"

namespace sluice {

class Account {
 public:
  // All of them outlive the account. `disked` may still be empty; it is constant once the tracker runs.
  Account(const EventQueue& queue, const Ledger& ledger, const backlog::Unrecorded& unrecorded,
          const std::optional<Disked>& disked) noexcept
      : queue_(queue), ledger_(ledger), unrecorded_(unrecorded), disked_(disked) {}

  // Balanced at every instant.
  [[nodiscard]] Books books() const noexcept;

  // As if the process ended now: events that no disk holds are lost, not kept.
  [[nodiscard]] Books books_at_exit() const noexcept;

  // At the end of a stop: events that no disk holds are lost from here. Returns how many.
  std::uint64_t write_off() noexcept;

 private:
  [[nodiscard]] Books finished_books() const noexcept;
  [[nodiscard]] static Books less(Books books, std::uint64_t lost) noexcept;
  [[nodiscard]] std::uint64_t on_no_disk(const Books& books) const noexcept;

  const EventQueue& queue_;
  const Ledger& ledger_;
  const backlog::Unrecorded& unrecorded_;
  const std::optional<Disked>& disked_;
  std::atomic<std::uint64_t> written_off_{0};  // written once, by the thread that runs the stop
};

}  // namespace sluice
