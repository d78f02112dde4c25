// Decides when the unfinished events of a batch are tried again, and puts them into the retry lane. In a stop, events
// that failed before, and fail again while the sink works, are put aside for the next start instead. One per worker,
// used by its thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "queue/block.h"
#include "workers/batch.h"
#include "workers/pool_state.h"
#include "workers/sink_call.h"
#include "workers/worker_stats.h"

namespace sluice {

class Rescheduler {
 public:
  // Both outlive this.
  Rescheduler(PoolState& pool, WorkerStats& stats) : pool_(pool), stats_(stats) {}

  // Ends the batch after a call that did not finish all of it. If the queue is closed before there is memory for it,
  // the batch is released.
  void reschedule(Batch& batch, const SinkCall::Outcome& call);

 private:
  struct Before;
  void put(std::vector<Slice>& runs, History history, const Before& before, const SinkCall::Outcome& call);
  void keep(std::vector<Slice>& runs, std::string_view reason);

  PoolState& pool_;
  WorkerStats& stats_;
  std::vector<Slice> again_, suspect_;  // reused from batch to batch
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace sluice
