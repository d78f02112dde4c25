// The log lines of a pool. Lines that a failing sink could repeat without end are limited, one limit per kind; the
// limits are per pool, not per worker, because all workers share one sink: a full disk is one line, however many
// workers find it full. Any thread. If a line cannot be formatted for lack of memory it is dropped.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>

#include "sluice/dead_letters.h"
#include "sluice/event.h"
#include "sluice/log_limit.h"
#include "sluice/options.h"

namespace sluice {

// The worker that a line is about.
struct WorkerName {
  std::size_t index;
  std::string_view sink;
};

class PoolLog {
 public:
  using Clock = std::chrono::steady_clock;

  // The hook outlives this.
  explicit PoolLog(const LogHook& hook) : hook_(hook) {}

  void sink_failed(WorkerName worker, std::size_t events, std::uint32_t attempt, std::string_view reason) noexcept;
  void sync_failed(WorkerName worker, std::uint64_t events, std::string_view reason) noexcept;
  void burial_failed(std::size_t events, const std::error_code& error) noexcept;

  // One line a second, which names one of the events; the dead-letter file and the books have all of them.
  void dead(WorkerName worker, std::span<const DeadLetter> letters) noexcept;
  // Logs the number of dead events that no line has counted yet, if that is due; max(): due or not.
  void dead_rest(Clock::time_point now) noexcept;
  [[nodiscard]] Clock::time_point dead_rest_due() const noexcept { return dead_.rest_due(); }

  // A stop put this event aside. Not limited; the caller names at most kMaxNamed events.
  void kept(WorkerName worker, const EventId& id, std::string_view reason) noexcept;

  static constexpr std::uint64_t kMaxNamed = 100;

 private:
  const LogHook& hook_;
  LogLimit sink_failures_{std::chrono::seconds{10}};
  LogLimit burial_failures_{std::chrono::seconds{10}};
  LogLimit sync_failures_{std::chrono::seconds{10}};
  LogLimit dead_{std::chrono::seconds{1}};
};

// The reason, or words for an empty one.
[[nodiscard]] std::string_view or_none(std::string_view reason) noexcept;

}  // namespace sluice
