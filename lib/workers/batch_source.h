// Where a worker gets its next batch: fresh events from the queue, or a batch from the retry lane. While the sink is in
// trouble, only a worker whose turn it is gets one, as a probe. One per worker, used by its thread only. It never
// waits; it says what to wait for.
#pragma once

#include <chrono>
#include <cstddef>

#include "workers/batch.h"
#include "workers/pool_state.h"
#include "workers/sink_health.h"

namespace sluice {

class BatchSource {
 public:
  using Clock = std::chrono::steady_clock;

  explicit BatchSource(PoolState& pool) : pool_(pool) {}  // `pool` outlives this

  // When to call try_take() again if it found nothing.
  struct Wait {
    Clock::time_point until{};
    bool on_events = false;  // or earlier, once there are fresh events
  };
  // Fills `batch`, which is empty, with what there is now. Fresh events and batches that are due take turns, so that
  // neither delays the other. Without memory it takes nothing.
  [[nodiscard]] Wait try_take(Batch& batch);
  // Adds fresh events to a batch of fresh events, as many as fit.
  void fill(Batch& batch);

  // What the last batch is to a troubled sink; `none`: an ordinary batch.
  [[nodiscard]] SinkHealth::Probe probe() const noexcept { return probe_; }

 private:
  [[nodiscard]] bool take_due(Batch& batch);
  [[nodiscard]] Wait take_probe(Batch& batch);

  PoolState& pool_;
  std::size_t event_bytes_ = 1;  // average payload of the last batch
  bool old_next_ = false;        // the last batch was a fresh one
  SinkHealth::Probe probe_ = SinkHealth::Probe::none;
};

}  // namespace sluice
