// The pool's log lines. See the header.
#include "workers/pool_log.h"

#include <fmt/core.h>

#include <new>
#include <utility>

namespace sluice {

namespace {

// `format` makes the line; it may throw std::bad_alloc.
template <typename Format>
void write(const LogHook& hook, LogLevel level, Format format) noexcept {
  try {
    hook(level, format());
  } catch (const std::bad_alloc&) {
    return;
  }
}

}  // namespace

std::string_view or_none(std::string_view reason) noexcept {
  return reason.empty() ? "the sink gave no reason" : reason;
}

void PoolLog::sink_failed(WorkerName worker, std::size_t events, std::uint32_t attempt,
                          std::string_view reason) noexcept {
  const std::uint64_t times = sink_failures_.tell();
  if (times == 0) return;
  write(hook_, LogLevel::warn, [&] {
    return fmt::format("sink failed, trying again worker={} sink={} events={} attempt={} failures={} reason=\"{}\"",
                       worker.index, worker.sink, events, attempt, times, or_none(reason));
  });
}

void PoolLog::sync_failed(WorkerName worker, std::uint64_t events, std::string_view reason) noexcept {
  const std::uint64_t times = sync_failures_.tell();
  if (times == 0) return;
  write(hook_, LogLevel::error, [&] {
    return fmt::format(
        "sink could not be synced, what it was given since comes again in the next run worker={} sink={} events={} "
        "failures={} reason=\"{}\"",
        worker.index, worker.sink, events, times, reason);
  });
}

void PoolLog::burial_failed(std::size_t events, const std::error_code& error) noexcept {
  if (burial_failures_.tell() == 0) return;
  write(hook_, LogLevel::error, [&] {
    return fmt::format("dead letters cannot be kept, trying again events={} reason=\"{}\"", events, error.message());
  });
}

void PoolLog::dead(WorkerName worker, std::span<const DeadLetter> letters) noexcept {
  const std::uint64_t events = dead_.tell(letters.size());
  if (events == 0) return;
  const DeadLetter& first = letters.front();
  write(hook_, LogLevel::warn, [&] {
    return fmt::format("event is dead id={} sink={} attempts={} reason=\"{}\" events={}", to_string(first.event.id),
                       worker.sink, first.event.attempt, first.reason, events);
  });
}

void PoolLog::dead_rest(Clock::time_point now) noexcept {
  if (const std::uint64_t events = dead_.tell_rest(now); events > 0) {
    write(hook_, LogLevel::warn, [&] { return fmt::format("more events are dead events={}", events); });
  }
}

void PoolLog::kept(WorkerName worker, const EventId& id, std::string_view reason) noexcept {
  write(hook_, LogLevel::warn, [&] {
    return fmt::format("event is kept, the sink does not take it id={} sink={} reason=\"{}\"", to_string(id),
                       worker.sink, or_none(reason));
  });
}

}  // namespace sluice
