// The loop of a worker, read from run() down.
#include "workers/pool.h"

#include <fmt/core.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <random>
#include <utility>

#include "sluice/error.h"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

}  // namespace

struct Pool::Worker {
  explicit Worker(std::size_t n) : index(n) {}
  ~Worker() {
    for (; hand_at < hand_size; ++hand_at) hand[hand_at].block->release(hand[hand_at].count);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  const std::size_t index;
  Claim claim;

  // The worker's own: slices that it has popped and that are in no batch yet.
  std::array<Slice, 32> hand{};
  std::size_t hand_at = 0, hand_size = 0;
  std::minstd_rand random{std::random_device{}()};

  // For who looks from outside: statistics, they never decide anything.
  std::string sink_name;  // constant once the worker has started
  std::atomic<std::size_t> events{0};
  std::atomic<std::uint64_t> first_sequence{0};
  std::atomic<std::uint32_t> attempt{0};
  std::atomic<Clock::rep> since{Clock::now().time_since_epoch().count()};
  std::atomic<std::uint64_t> delivered{0};
  BusyTime busy;
  alignas(64) Tally batch_events{kEventBuckets};
  Tally sink_time{kTimeBuckets};

  std::stop_token stop;   // the worker's own copy: its thread object may be let go under it
  bool finished = false;  // guarded by the pool's mutex_; its last act
  std::jthread thread;    // ends before the rest is destroyed, or is let go
};

Pool::Pool(Flow flow, const SinkFactory& sinks, const std::shared_ptr<const void>& keeps_alive)
    : flow_(std::move(flow)) {
  for (std::size_t i = 0; i < flow_.options.workers; ++i) workers_.push_back(std::make_unique<Worker>(i));
  std::size_t launched = 0;
  std::exception_ptr failure;
  try {
    for (const auto& worker : workers_) {
      worker->thread = std::jthread([this, &worker = *worker, &sinks, keeps_alive](std::stop_token stop) {
        worker.stop = std::move(stop);
        run(worker, sinks);
      });
      ++launched;
    }
  } catch (...) {
    failure = std::current_exception();  // the system has no more threads to give
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return started_ == launched; });  // `sinks` is used no more
  if (!failure) failure = failed_to_start_;
  if (!failure) return;
  lock.unlock();
  flow_.queue.close();
  for (const auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
  std::rethrow_exception(failure);
}

Pool::~Pool() {
  for ([[maybe_unused]] const auto& worker : workers_)
    assert(!worker->thread.joinable() && "Pool destroyed while working");
}

void Pool::run(Worker& worker, const SinkFactory& sinks) {
  ::pthread_setname_np(::pthread_self(), fmt::format("worker-{}", worker.index).c_str());
  std::unique_ptr<Sink> sink;
  std::exception_ptr failure;
  try {
    sink = sinks();
    if (!sink) throw StartError(StartError::Kind::usage, "sinks: the factory returned no sink");
    worker.sink_name = sink->name();
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    ++started_;
    if (failure && !failed_to_start_) failed_to_start_ = failure;
    changed_.notify_all();
  }
  if (sink) {
    Batch batch(flow_.options.batch_events);
    while (take(worker, batch) && finish(worker, *sink, batch)) {
    }
    batch.release_all();
    sink.reset();
  }
  const std::lock_guard lock(mutex_);
  worker.finished = true;
  changed_.notify_all();
}

// A batch from the queue, waiting for one. False: the queue is closed, there is nothing more.
bool Pool::take(Worker& worker, Batch& batch) {
  for (;;) {
    worker.claim.take();
    fill(worker, batch);
    if (!batch.empty()) break;
    worker.claim.rest();
    if (flow_.queue.closed()) return false;
    flow_.queue.wait();
  }
  if (flow_.options.batch_linger > std::chrono::nanoseconds::zero()) {
    const auto until = Clock::now() + flow_.options.batch_linger;
    while (!batch.full() && Clock::now() < until && !flow_.queue.closed() && flow_.queue.wait_linger(until)) {
      fill(worker, batch);
    }
  }
  return true;
}

// What there is, without waiting; never more slices than the batch surely has room for, since what a worker has in hand
// no other can take. (What did not fit by its bytes stays in hand.)
void Pool::fill(Worker& worker, Batch& batch) {
  while (!batch.full()) {
    if (flow_.queue.closed()) return;  // what is in hand stays there, and is kept
    if (worker.hand_at == worker.hand_size) {
      const std::size_t want =
          std::clamp<std::size_t>(batch.room() / flow_.queue.slice_events(), 1, worker.hand.size());
      worker.hand_at = 0;
      worker.hand_size = flow_.queue.try_pop({worker.hand.data(), want});
      if (worker.hand_size == 0) return;
    }
    Slice& slice = worker.hand[worker.hand_at];
    batch.add(slice);
    if (slice.count == 0) ++worker.hand_at;
  }
}

// Sends the batch until every event of it has an outcome; what is sent again is a batch of its own. False: the rest was
// kept, and the worker has to go.
bool Pool::finish(Worker& worker, Sink& sink, Batch& batch) {
  for (;;) {
    deliver(worker, sink, batch);
    if (!worker.claim.answer()) return false;

    std::size_t delivered = 0;
    std::size_t dead = 0;
    for (const Verdict& verdict : batch.verdicts()) {
      delivered += verdict.kind() == Verdict::delivered ? 1 : 0;
      dead += verdict.kind() == Verdict::refused ? 1 : 0;
    }
    flow_.ledger.add_delivered(delivered);
    flow_.ledger.add_dead(dead);
    worker.delivered.fetch_add(delivered);
    if (flow_.settle && delivered + dead > 0) batch.each_finished(flow_.settle);
    if (delivered == batch.size()) {
      batch.release_all();
    } else {
      batch.keep_unfinished(flow_.door);
    }
    worker.events.store(batch.size());
    worker.since.store(Clock::now().time_since_epoch().count());
    // Last of all: with the last ticket a shutdown goes on.
    if (delivered + dead > 0) flow_.door.give_back_events(delivered + dead);
    if (batch.empty()) {
      worker.claim.rest();
      return true;
    }
    worker.claim.take();
    if (flow_.queue.closed()) {
      worker.claim.rest();
      return false;
    }
  }
}

// Asks the sink for its verdicts. All of it is `in_sink`: the backoff before, and keeping the refused aside after.
void Pool::deliver(Worker& worker, Sink& sink, Batch& batch) {
  const Options& options = flow_.options;
  const std::uint32_t attempt = batch.deliveries().front().attempt;
  batch.clear_verdicts();
  worker.events.store(batch.size());
  worker.first_sequence.store(batch.deliveries().front().id.sequence);
  worker.attempt.store(attempt);
  worker.since.store(Clock::now().time_since_epoch().count());
  worker.claim.enter_sink();

  if (attempt > 1) {
    // Doubled each time, with full jitter: many who failed together must not come back together.
    auto most = options.retry_min;
    for (std::uint32_t i = 2; i < attempt && most < options.retry_max; ++i) most *= 2;
    most = std::min(most, options.retry_max);
    flow_.stop.wait_backoff(
        std::chrono::nanoseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(worker.random)));
    if (flow_.stop.phase() >= Phase::expired) return;  // too late to begin: it stays as it is
  }

  std::string failure;
  const auto began = Clock::now();
  worker.busy.begin(began);
  worker.batch_events.add(batch.size());
  try {
    sink.deliver(batch.deliveries(), batch.verdicts(), worker.stop);
  } catch (...) {
    failure = what_of(std::current_exception());
    batch.clear_verdicts();
  }
  const auto ended = Clock::now();
  worker.busy.end(ended);
  worker.sink_time.add(ended - began);
  if (worker.claim.state() == WorkerState::kept) return;

  const auto is_delivered = [](const Verdict& verdict) { return verdict.kind() == Verdict::delivered; };
  if (std::ranges::all_of(batch.verdicts(), is_delivered)) return;

  std::size_t again = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Verdict& verdict = batch.verdicts()[i];
    if (verdict.kind() != Verdict::try_again) continue;
    ++again;
    if (failure.empty()) failure = verdict.reason();
    if (options.retry_limit > 0 && batch.deliveries()[i].attempt >= options.retry_limit) {
      verdict = {Verdict::refused, fmt::format("given up after {} attempts: {}", batch.deliveries()[i].attempt,
                                               failure.empty() ? "the sink gave no reason" : failure)};
    }
  }
  if (again > 0) {
    if (const std::uint64_t times = sink_failures_.tell(); times > 0) {
      flow_.log(
          LogLevel::warn,
          fmt::format("sink failed, trying again worker={} sink={} events={} attempt={} failures={} reason=\"{}\"",
                      worker.index, worker.sink_name, again, attempt, times,
                      failure.empty() ? "the sink gave no reason" : failure));
    }
  }
  bury_refused(worker, batch);
}

// Refused events are kept aside before they count as dead; if that fails they are sent again.
void Pool::bury_refused(Worker& worker, Batch& batch) {
  std::vector<DeadEvent> dead;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Verdict& verdict = batch.verdicts()[i];
    if (verdict.kind() == Verdict::refused) dead.push_back({&batch.deliveries()[i], verdict.reason()});
  }
  if (dead.empty()) return;
  const std::error_code error = flow_.bury(dead);
  for (const DeadEvent& event : dead) {
    if (error) continue;
    flow_.log(LogLevel::warn,
              fmt::format("event is dead id={} sink={} attempts={} reason=\"{}\"", to_string(event.event->id),
                          worker.sink_name, event.event->attempt, event.reason));
  }
  if (!error) return;
  if (const std::uint64_t times = burial_failures_.tell(); times > 0) {
    flow_.log(LogLevel::error, fmt::format("dead letters cannot be kept, trying again events={} reason=\"{}\"",
                                           dead.size(), error.message()));
  }
  for (Verdict& verdict : batch.verdicts()) {
    if (verdict.kind() == Verdict::refused) verdict = {Verdict::try_again, "dead letter: " + error.message()};
  }
}

WorkerStatus Pool::status_of(const Worker& worker) const {
  const auto since = Clock::time_point(Clock::duration(worker.since.load()));
  return {.worker = worker.index,
          .sink = worker.sink_name,
          .state = worker.claim.state(),
          .events = worker.events.load(),
          .first_sequence = worker.first_sequence.load(),
          .attempt = worker.attempt.load(),
          .in_state = Clock::now() - since,
          .delivered = worker.delivered.load(),
          .busy = worker.busy.so_far()};
}

std::vector<WorkerStatus> Pool::status() const {
  std::vector<WorkerStatus> all;
  for (const auto& worker : workers_) all.push_back(status_of(*worker));
  return all;
}

void Pool::show(Metrics& to) const {
  for (const auto& worker : workers_) {
    if (worker->claim.state() == WorkerState::in_sink) to.in_flight += worker->events.load();
    to.worker_busy.push_back(worker->busy.so_far());
    worker->batch_events.show(to.batch_events);
    worker->sink_time.show(to.sink_seconds);
  }
}

void Pool::expire() {
  assert(flow_.queue.closed() && "a worker could take a batch behind our back");
  for (const auto& worker : workers_) static_cast<void>(worker->claim.keep());
  // Only now: callbacks on the token run on this thread.
  for (const auto& worker : workers_) worker->thread.request_stop();
}

std::vector<WorkerStatus> Pool::join(std::chrono::steady_clock::time_point until) {
  std::vector<WorkerStatus> left_behind;
  std::unique_lock lock(mutex_);
  for (const auto& worker : workers_) {
    if (!worker->thread.joinable()) continue;
    if (changed_.wait_until(lock, until, [&] { return worker->finished; })) {
      lock.unlock();
      worker->thread.join();
      lock.lock();
    } else {
      left_behind.push_back(status_of(*worker));
      worker->thread.detach();
    }
  }
  return left_behind;
}

}  // namespace sluice
