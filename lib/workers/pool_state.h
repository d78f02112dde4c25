// What all workers of a pool share. Used by every worker thread and by the thread that stops the pool; each member
// synchronises itself.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <new>
#include <utility>

#include "workers/flow.h"
#include "workers/pool_log.h"
#include "workers/retry_lane.h"
#include "workers/sink_health.h"

namespace sluice {

struct PoolState {
  explicit PoolState(Flow with)
      : flow(std::move(with)), health(flow.options.retry_min, flow.options.retry_max), log(flow.log) {}

  const Flow flow;
  SinkHealth health;
  RetryLane lane;
  PoolLog log;
  std::atomic<bool> stopping{false};   // a stop has begun; never returns to false
  std::atomic<bool> gone{false};       // a sink said that it never delivers again; never returns to false
  std::atomic<std::uint64_t> kept{0};  // events that a stop put aside because the sink does not take them
};

// When to ask again after an allocation failed.
inline constexpr std::chrono::milliseconds kNoMemoryWait{10};

// Repeats `step` until it does not throw std::bad_alloc, waiting in between. False: the queue was closed first.
template <typename Step>
[[nodiscard]] bool with_memory(EventQueue& queue, Step step) {
  for (;;) {
    try {
      step();
      return true;
    } catch (const std::bad_alloc&) {
      if (queue.closed()) return false;
      queue.wait_nudge(queue.nudges(), std::chrono::steady_clock::now() + kNoMemoryWait);
    }
  }
}

}  // namespace sluice
