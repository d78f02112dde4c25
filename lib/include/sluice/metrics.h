// What a monitoring system wants to know of a running tracker, as plain numbers of one look: Tracker::metrics().
// Counters only grow, so who looks twice gets rates; a look takes none of the locks that events pass.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/report.h"

namespace sluice {

// Observations sorted by size.
struct Histogram {
  std::vector<double> bounds;         // upper ends of the buckets, ascending; what is equal to one is below it
  std::vector<std::uint64_t> counts;  // of each bucket alone; the last, behind all bounds, has no upper end
  double sum = 0;                     // of all that was observed

  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t one : counts) all += one;
    return all;
  }
};

// Events that were not taken, by answer.
struct Refused {
  std::uint64_t full = 0, too_large = 0, closed = 0;
  std::uint64_t failed = 0;   // the disk had failed before
  std::uint64_t unknown = 0;  // it failed under this very request: taken whole or not at all
};

struct Metrics {
  Books books;  // of one instant, unless events are finished faster than one can look; balanced in any case
  Refused refused;
  std::size_t queue_events = 0;                       // admitted and not finished
  std::size_t queue_bytes = 0;                        // charged for them
  std::size_t in_flight = 0;                          // of those, in sinks
  std::size_t retry_events = 0;                       // of those, waiting for another attempt
  bool sink_failing = false;                          // it takes nothing at the moment
  std::uint64_t journal_bytes = 0;                    // on disk, and reserved there
  std::uint64_t journal_unreadable = 0;               // bytes that the disk would not read, so far
  std::vector<std::chrono::nanoseconds> worker_busy;  // in their sinks, what is under way included; by worker
  Histogram batch_events;                             // of each call of a sink
  Histogram sink_seconds;                             // the same calls
  Histogram commit_seconds;  // of the journal: the write, under Ack::synced the fdatasync, for all requests that waited
};

}  // namespace sluice
