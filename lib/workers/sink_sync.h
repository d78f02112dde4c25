// When a worker syncs its sink, under Ack::written. What the sink took and has not synced comes twice after a kill -9,
// so a cheap sync runs more often: the interval is 50 times the duration of the last sync (that is a fiftieth of the
// worker's time), between Flow::sync_soonest and Flow::sync_every. One per worker, used by its thread only.
#pragma once

#include <algorithm>
#include <chrono>

#include "sluice/sink.h"
#include "workers/claim.h"
#include "workers/pool_state.h"
#include "workers/worker_stats.h"

namespace sluice {

class SinkSync {
 public:
  using Clock = std::chrono::steady_clock;

  // All three outlive this.
  SinkSync(PoolState& pool, Claim& claim, WorkerStats& stats) : pool_(pool), claim_(claim), stats_(stats) {}

  // The sink finished events that need a sync; `soon`: with no more delay.
  void note_finished(bool soon) noexcept {
    unsynced_since_ = soon ? Clock::time_point::min() : std::min(unsynced_since_, Clock::now());
  }

  // When the sink is to be synced; max() if nothing needs it. Sooner in a stop, so that little is left to do after the
  // last batch.
  [[nodiscard]] Clock::time_point due() const;

  // Between batches: makes the sink durable and then reports what it had finished. Counts as `in_sink`, so a stop names
  // a sink that hangs here and leaves it behind. False: that happened, and the worker must end.
  [[nodiscard]] bool sync_if_due(Sink& sink) {
    const auto at = due();
    return at == Clock::time_point::max() || Clock::now() < at || sync_now(sink);
  }
  [[nodiscard]] bool sync_now(Sink& sink);

 private:
  PoolState& pool_;
  Claim& claim_;
  WorkerStats& stats_;
  Clock::time_point unsynced_since_ = Clock::time_point::max();  // max(): everything is synced
  Clock::duration last_duration_{0};
};

}  // namespace sluice
