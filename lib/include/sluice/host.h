// For programs built around a tracker, such as sluiced: signal-safe counts, a deadline that moves, dead letters,
// metrics, limits of the host. A program that only tracks events needs none of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "sluice/api.h"
#include "sluice/deadline.h"
#include "sluice/metrics.h"
#include "sluice/phase.h"
#include "sluice/report.h"

namespace sluice {

class Tracker;

// The outcome of Host::requeue_dead_letters() or drop_dead_letters().
struct DeadLettersMoved {
  std::size_t moved = 0, left = 0;  // left: still there, of those that were there at the beginning
  std::string error{};              // why not more: one line. Empty if nothing is wrong
  std::size_t damaged = 0;          // lines that are no dead letter: they are in STATE/dead-letter.damaged now
  std::size_t first_damaged = 0;    // line number of the first of them, in the file as it was, from 1
};

// The rest of a tracker's interface. A view: the tracker outlives it. Any thread.
class SLUICE_API Host {
 public:
  explicit Host(const Tracker& tracker) noexcept : tracker_(&tracker) {}

  // Moves the deadline of a running shutdown forward (never back), without waiting. Before any shutdown it is kept for
  // the next one, which still gets least_drain() from its own beginning.
  void hasten(Deadline deadline) const;

  // The shortest time that a shutdown gets: 100 ms, plus 2 ms for each MiB in memory that has no record on disk.
  // Async-signal-safe.
  [[nodiscard]] std::chrono::nanoseconds least_drain() const noexcept;

  // The counts if the process ended now: events that no disk holds are lost, not kept. Async-signal-safe.
  [[nodiscard]] Books books_at_exit() const noexcept;

  // The disk has failed and does not work again yet: new events are refused. Async-signal-safe.
  [[nodiscard]] bool disk_failed() const noexcept;

  // For a program that closes an intake of its own before it calls shutdown(): the phase becomes `closing`. Events are
  // still accepted. Idempotent.
  void announce_stop() const;

  // Async-signal-safe.
  [[nodiscard]] Phase phase() const noexcept;

  // Takes no lock and may be called a hundred times a second.
  [[nodiscard]] Metrics metrics() const;

  // The oldest dead letters, at most so many, become new events, with new ids and the old one in their content type
  // (`; requeued=OLD-ID`), or are deleted. A letter is deleted only once its event is accepted, as durably as the ack
  // level says. Concurrent callers wait for each other. Without a state directory there are no dead letters.
  [[nodiscard]] DeadLettersMoved requeue_dead_letters(std::size_t at_most) const;
  [[nodiscard]] DeadLettersMoved drop_dead_letters(std::size_t at_most) const;

 private:
  const Tracker* tracker_;
};

// Writes to_string(Report) into `to`, at most `size` bytes (256 are always enough; the rest is cut off), without a
// trailing zero; returns the length. Async-signal-safe.
SLUICE_API std::size_t write_report(char* to, std::size_t size, Reason reason, const Books& books,
                                    std::chrono::nanoseconds elapsed) noexcept;

// The same as one JSON object (the same keys, numbers as numbers, elapsed in seconds). Async-signal-safe.
SLUICE_API std::size_t write_report_json(char* to, std::size_t size, Reason reason, const Books& books,
                                         std::chrono::nanoseconds elapsed) noexcept;

// How many CPUs this process may use: its affinity or, if less, the quota of its control group, rounded up. At least 1.
[[nodiscard]] SLUICE_API std::size_t usable_cpus();

// How many files a tracker may have open at a time for a journal of this size: two a segment. If RLIMIT_NOFILE is
// lower, the disk counts as failed while that many are needed.
[[nodiscard]] SLUICE_API std::size_t descriptors_of_journal(std::uint64_t journal_bytes) noexcept;

}  // namespace sluice
