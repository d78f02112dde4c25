// The loop of a worker, read from run() down.
#include "workers/worker.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>
#include <vector>

#include "sluice/deadline.h"
#include "sluice/error.h"
#include "sluice/sinks.h"

namespace sluice {

using Clock = std::chrono::steady_clock;

void Worker::make_sink(const SinkFactory& sinks) {
  sink_ = sinks({.ack = pool_.flow.options.ack, .log = pool_.flow.log, .worker = stats_.index()});
  if (!sink_) throw StartError(StartError::Kind::usage, "sinks: the factory returned no sink");
  stats_.name_sink(redacted(sink_->name()));
}

void Worker::run(const std::stop_token& stop) {
  Batch batch(pool_.flow.options.batch_events);
  while (wait_batch(batch) && deliver(batch, stop)) {
  }
  static_cast<void>(sync_.sync_now(*sink_));
  sink_.reset();
}

// Waits for a batch from the queue or the lane. False: the queue is closed, and nothing more comes.
bool Worker::wait_batch(Batch& batch) {
  EventQueue& queue = pool_.flow.queue;
  for (;;) {
    const std::uint64_t seen = queue.nudges();  // before try_take(), so that no nudge is missed
    if (pool_.log.dead_rest_due() != Clock::time_point::max()) pool_.log.dead_rest(Clock::now());
    claim_.take();
    const BatchSource::Wait wait = source_.try_take(batch);
    if (!batch.empty()) break;
    claim_.rest();
    if (queue.closed()) return false;
    // In a stop nothing more may come, and a sync now costs no time after the deadline.
    if (!(pool_.stopping.load() ? sync_.sync_now(*sink_) : sync_.sync_if_due(*sink_))) return false;
    const auto until = std::min({wait.until, sync_.due(), pool_.log.dead_rest_due()});
    if (wait.on_events) {
      queue.wait(seen, until);
    } else {
      queue.wait_nudge(seen, until);
    }
  }
  linger(batch);
  return true;
}

// Gives a fresh batch that is not full the time of --batch-linger to grow.
void Worker::linger(Batch& batch) {
  const Options& options = pool_.flow.options;
  if (options.batch_linger <= std::chrono::nanoseconds::zero() || batch.history().attempt != 1 ||
      source_.probe() != SinkHealth::Probe::none) {
    return;
  }
  EventQueue& queue = pool_.flow.queue;
  const Deadline until = deadline_in(options.batch_linger);
  while (!batch.full() && Clock::now() < until && !queue.closed() && queue.wait_linger(until)) source_.fill(batch);
}

// Calls the sink, books the outcome and reschedules the rest. False: the batch was taken away, and the worker must end.
bool Worker::deliver(Batch& batch, const std::stop_token& stop) {
  SinkCall::Outcome outcome;
  if (!call_.deliver(*sink_, batch, stop, outcome) || !claim_.answer()) {
    std::vector<Slice> all;
    batch.move_to(all);
    pool_.lane.keep(all);
    return false;
  }
  book(batch);
  claim_.rest();
  const bool changed =
      outcome.works ? pool_.health.worked()
                    : pool_.health.failed(Clock::now(), source_.probe(), outcome.passed_over > 0, outcome.reason);
  if (changed) pool_.flow.queue.nudge();
  if (!batch.empty()) rescheduler_.reschedule(batch, outcome);
  return sync_.sync_if_due(*sink_);
}

// Counts and settles what is finished, and gives its tickets back; a batch that is finished as a whole is empty then.
void Worker::book(Batch& batch) {
  std::size_t delivered = 0;
  std::size_t dead = 0;
  for (const Verdict& verdict : batch.verdicts()) {
    delivered += verdict.kind() == Verdict::delivered ? 1 : 0;
    dead += verdict.kind() == Verdict::refused ? 1 : 0;
  }
  pool_.flow.ledger.add_delivered(delivered);
  pool_.flow.ledger.add_dead(dead);
  if (pool_.flow.settle && delivered + dead > 0) settle(batch);
  if (delivered + dead == batch.size()) batch.release_all();
  stats_.batch_ends(delivered, batch.size());
  // Last, because a shutdown may go on once the last ticket is back.
  if (delivered + dead > 0) pool_.flow.door.give_back_events(delivered + dead);
}

// A settle that is lost for want of memory means that the events come again in the next run.
void Worker::settle(const Batch& batch) {
  bool soon = false;
  batch.each_finished([&](Block& block, std::uint64_t first, std::uint32_t count) {
    try {
      soon = pool_.flow.settle(stats_.index(), block, first, count) || soon;
    } catch (const std::bad_alloc&) {
      return;
    }
  });
  if (pool_.flow.sink_synced) sync_.note_finished(soon);
}

}  // namespace sluice
