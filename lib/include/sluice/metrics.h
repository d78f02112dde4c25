// Numbers about a running tracker for a monitoring system: Host::metrics() (sluice/host.h). Counters only grow, so two
// readings give a rate. Plain values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/report.h"

namespace sluice {

// Observations by size.
struct Histogram {
  std::vector<double> bounds{};         // upper ends of the buckets, ascending, inclusive
  std::vector<std::uint64_t> counts{};  // of each bucket alone; one more than bounds: the last has no upper end
  double sum = 0;                       // of all observations

  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t one : counts) all += one;
    return all;
  }
};

// Refused events, by answer.
struct Refused {
  std::uint64_t full = 0, too_large = 0, closed = 0;
  std::uint64_t failed = 0;   // the disk had failed before the request
  std::uint64_t unknown = 0;  // it failed during the request: all or nothing was taken
};

struct Metrics {
  Books books{};  // of one instant, unless events are finished faster than they can be counted; always balanced
  Refused refused{};
  std::size_t queue_events = 0;                         // admitted and not finished
  std::size_t queue_bytes = 0;                          // charged for them
  std::size_t in_flight = 0;                            // of those, in sinks
  std::size_t retry_events = 0;                         // of those, waiting for another attempt
  bool sink_failing = false;                            // the sink takes nothing at the moment
  std::uint64_t journal_bytes = 0;                      // on disk, and reserved there
  std::uint64_t journal_unreadable = 0;                 // bytes that the disk failed to read, so far
  std::vector<std::chrono::nanoseconds> worker_busy{};  // in their sinks, current calls included; by worker
  Histogram batch_events{};                             // per deliver() call
  Histogram sink_seconds{};                             // per deliver() call
  Histogram commit_seconds{};  // per journal commit: the write, under Ack::synced also the fdatasync
};

}  // namespace sluice
