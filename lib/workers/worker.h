// A worker: the loop of one thread with a sink of its own. It takes a batch, delivers it, books the outcome and gives
// the tickets back. Everything here belongs to that thread but for the claim and the statistics.
#pragma once

#include <cstddef>
#include <memory>
#include <stop_token>

#include "sluice/sink.h"
#include "workers/batch.h"
#include "workers/batch_source.h"
#include "workers/claim.h"
#include "workers/pool_state.h"
#include "workers/rescheduler.h"
#include "workers/sink_call.h"
#include "workers/sink_sync.h"
#include "workers/worker_stats.h"

namespace sluice {

class Worker {
 public:
  // `pool` outlives this.
  Worker(PoolState& pool, std::size_t index) : pool_(pool), stats_(index) {}

  // On the worker's thread, in this order. Makes the sink; throws what the factory throws, or StartError if it returns
  // none.
  void make_sink(const SinkFactory& sinks);
  // Works until the queue is closed or a batch was taken away, then destroys the sink.
  void run(const std::stop_token& stop);

  // Any thread; status() only once make_sink() has returned.
  [[nodiscard]] std::size_t index() const noexcept { return stats_.index(); }
  [[nodiscard]] Claim& claim() noexcept { return claim_; }
  [[nodiscard]] WorkerStatus status() const { return stats_.status(claim_.state()); }
  void show(Metrics& to) const { stats_.show(claim_.state(), to); }

 private:
  [[nodiscard]] bool wait_batch(Batch& batch);
  void linger(Batch& batch);
  [[nodiscard]] bool deliver(Batch& batch, const std::stop_token& stop);
  void book(Batch& batch);
  void settle(const Batch& batch);

  PoolState& pool_;
  Claim claim_;
  WorkerStats stats_;
  BatchSource source_{pool_};
  SinkCall call_{pool_, claim_, stats_};
  SinkSync sync_{pool_, claim_, stats_};
  Rescheduler rescheduler_{pool_, stats_};
  std::unique_ptr<Sink> sink_;
};

}  // namespace sluice
