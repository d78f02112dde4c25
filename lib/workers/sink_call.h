// One call of the sink: asks for the verdicts of a batch, gives up on events that failed too often, and stores the
// refused ones as dead letters. One per worker, used by its thread only; it keeps nothing between calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>

#include "sluice/sink.h"
#include "workers/batch.h"
#include "workers/claim.h"
#include "workers/pool_state.h"
#include "workers/worker_stats.h"

namespace sluice {

// The text of the exception that is being handled; empty if there is no memory for it.
[[nodiscard]] std::string reason_of_exception() noexcept;

class SinkCall {
 public:
  // All three outlive this.
  SinkCall(PoolState& pool, Claim& claim, WorkerStats& stats) : pool_(pool), claim_(claim), stats_(stats) {}

  struct Outcome {
    bool in_stop = false;           // the call began after a stop had begun
    bool works = true;              // some verdict was not try_again
    bool unburied = false;          // the dead letters could not be stored
    std::uint32_t passed_over = 0;  // of the batch's events, after this call; see History
    std::string reason;             // the first one given
  };
  // The batch is `in_sink` during the call and `burying` while dead letters are written; afterwards its verdicts stand.
  // False: the batch was taken away meanwhile, and the worker must not touch its outcome.
  [[nodiscard]] bool deliver(Sink& sink, Batch& batch, const std::stop_token& stop, Outcome& outcome);

 private:
  void judge(Batch& batch, std::size_t delivered, Outcome& outcome);
  [[nodiscard]] bool others_pass(const History& history, std::size_t delivered) const;
  [[nodiscard]] bool bury_refused(Batch& batch, Outcome& outcome);

  PoolState& pool_;
  Claim& claim_;
  WorkerStats& stats_;
};

}  // namespace sluice
