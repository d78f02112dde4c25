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

#include "sluice/deadline.h"
#include "sluice/error.h"
#include "sluice/sinks.h"
#include "workers/backoff.h"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

// So often a suspect may fail while others are delivered.
constexpr std::uint32_t kMostPassedOver = 5;
// And so often, without a retry_limit of the user's, an event that the sink says to try again.
constexpr std::uint32_t kDefaultRetryLimit = 20;
// So few in the lane can hardly show that the sink works.
constexpr std::size_t kFewBatches = 16;
// A stop names so many of the events that its sink does not take.
constexpr std::uint64_t kMostNamed = 100;
// Where memory is out, the wait before asking again.
constexpr std::chrono::milliseconds kNoMemory{10};

// What is being handled just now.
std::string reason_of_failure() noexcept {
  try {
    try {
      throw;
    } catch (const std::exception& e) {
      return e.what();
    } catch (...) {
      return "an exception that is no std::exception";
    }
  } catch (const std::bad_alloc&) {
    return {};
  }
}

std::string_view or_none(std::string_view reason) noexcept {
  return reason.empty() ? "the sink gave no reason" : reason;
}

std::size_t events_in(std::span<const Slice> runs) noexcept {
  std::size_t events = 0;
  for (const Slice& run : runs) events += run.count;
  return events;
}

}  // namespace

struct Pool::Worker {
  explicit Worker(std::size_t n) : index(n) {}

  const std::size_t index;
  Claim claim;

  // The worker's own.
  std::size_t event_bytes = 1;                        // of its last batch, on average
  bool old_next = false;                              // its last batch was a fresh one
  SinkHealth::Probe probe = SinkHealth::Probe::none;  // what its batch is, for a troubled sink
  std::vector<Slice> again, suspect;                  // of a batch that has ended, on their way into the lane
  std::minstd_rand random{std::random_device{}()};
  // Of what the sink has taken and not synced, the first; max() if there is nothing of the kind.
  Clock::time_point unsynced_since = Clock::time_point::max();
  Clock::duration sync_took{0};  // the last time

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
    : flow_(std::move(flow)), health_(flow_.options.retry_min, flow_.options.retry_max) {
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
    sink = sinks({.ack = flow_.options.ack, .log = flow_.log, .worker = worker.index});
    if (!sink) throw StartError(StartError::Kind::usage, "sinks: the factory returned no sink");
    worker.sink_name = redacted(sink->name());
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
    while (take(worker, *sink, batch) && finish(worker, *sink, batch)) {
    }
    static_cast<void>(sync_if(worker, *sink, When::at_once));
    sink.reset();
  }
  const std::lock_guard lock(mutex_);
  worker.finished = true;
  changed_.notify_all();
}

// A batch from the queue or the lane, waiting for one. False: the queue is closed, there is nothing more.
bool Pool::take(Worker& worker, Sink& sink, Batch& batch) {
  for (;;) {
    const std::uint64_t seen = flow_.queue.nudges();  // before looking, so nothing is missed
    if (dead_events_.rest_due() != Clock::time_point::max()) tell_dead_rest(Clock::now());
    worker.claim.take();
    const Wait wait = look(worker, batch);
    if (!batch.empty()) break;
    worker.claim.rest();
    if (flow_.queue.closed()) return false;
    // At a stop nothing more may come, and the time to the deadline is better than that after it.
    if (!sync_if(worker, sink, stopping_.load() ? When::at_once : When::due)) return false;
    const auto until = std::min({wait.until, sync_due(worker), dead_events_.rest_due()});
    if (wait.on_events) {
      flow_.queue.wait(seen, until);
    } else {
      flow_.queue.wait_nudge(seen, until);
    }
  }
  if (flow_.options.batch_linger > std::chrono::nanoseconds::zero() && batch.past().attempt == 1 &&
      worker.probe == SinkHealth::Probe::none) {
    const Deadline until = deadline_in(flow_.options.batch_linger);
    while (!batch.full() && Clock::now() < until && !flow_.queue.closed() && flow_.queue.wait_linger(until)) {
      fill(worker, batch);
    }
  }
  return true;
}

// What there is, without waiting. Old batches that are due and fresh events take turns: neither holds up the other.
Pool::Wait Pool::look(Worker& worker, Batch& batch) {
  try {
    worker.probe = SinkHealth::Probe::none;
    if (flow_.queue.closed()) return {};
    if (health_.troubled()) return probe(worker, batch);
    if (worker.old_next && take_due(worker, batch)) return {};
    fill(worker, batch);
    worker.old_next = !batch.empty();
    if (!batch.empty() || take_due(worker, batch)) return {};
    return {.until = lane_.next_due(), .on_events = true};
  } catch (const std::bad_alloc&) {
    return {.until = Clock::now() + kNoMemory, .on_events = false};
  }
}

bool Pool::take_due(Worker& worker, Batch& batch) {
  if (lane_.events() == 0 || !lane_.try_take(Clock::now(), batch)) return false;
  worker.old_next = false;
  return true;
}

// Of a troubled sink: a batch only if it is this worker's to probe it.
Pool::Wait Pool::probe(Worker& worker, Batch& batch) {
  using Probe = SinkHealth::Probe;
  const auto now = Clock::now();
  // A sink that fails everything is tried with what has waited longest, due or not. If it is only doubted, what has
  // failed in spite of a sink that worked has its own times.
  const auto by = health_.failing() ? Clock::time_point::max() : now;
  const bool has_old = lane_.events() > 0 && lane_.next_due() <= by;
  const SinkHealth::Turn turn = health_.try_probe(now, flow_.queue.size_approx() > 0, has_old);
  worker.probe = turn.probe;
  if (turn.probe == Probe::none) {
    const bool on_due = turn.until == Clock::time_point::max();
    return {.until = on_due ? lane_.next_due() : turn.until, .on_events = turn.on_events};
  }
  try {
    if (turn.probe == Probe::fresh) {
      fill(worker, batch);
    } else {
      static_cast<void>(lane_.try_take(by, batch));
    }
  } catch (const std::bad_alloc&) {
    health_.give_up_probe(now);
    throw;
  }
  if (batch.empty()) health_.give_up_probe(now);  // others were quicker
  return {.until = now, .on_events = false};
}

// What there is, without waiting: no more than the batch surely takes by its events, nor, going by the last batch, by
// its bytes. What does not fit goes back, since what a worker has in hand no other can take.
void Pool::fill(Worker& worker, Batch& batch) {
  const std::size_t slice_events = flow_.queue.slice_events();
  std::array<Slice, EventQueue::kMostPop> hand;
  while (!batch.full()) {
    if (flow_.queue.closed()) return;
    const std::size_t by_bytes = (Batch::kMostBytes - batch.bytes()) / (worker.event_bytes * slice_events);
    const std::size_t want = std::clamp<std::size_t>(std::min(batch.room() / slice_events, by_bytes), 1, hand.size());
    const std::size_t got = flow_.queue.try_pop({hand.data(), want});
    if (got == 0) break;
    std::size_t at = 0;
    const auto put_back = [&] {
      if (at < got) flow_.queue.put_back({hand.data() + at, got - at});
    };
    try {
      while (at < got && !batch.full()) {
        batch.add(hand[at]);
        if (hand[at].count == 0) ++at;
      }
    } catch (const std::bad_alloc&) {
      put_back();
      if (batch.empty()) throw;
      break;
    }
    put_back();
  }
  if (!batch.empty()) worker.event_bytes = std::max<std::size_t>(1, batch.bytes() / batch.size());
}

// Sends the batch, books what has become of it and hands the rest to the lane. False: it was taken away, and the worker
// has to go.
bool Pool::finish(Worker& worker, Sink& sink, Batch& batch) {
  Call call;
  if (!deliver(worker, sink, batch, call) || !worker.claim.answer()) {
    std::vector<Slice> all;
    batch.move_to(all);
    lane_.keep(all);
    return false;
  }

  std::size_t delivered = 0;
  std::size_t dead = 0;
  for (const Verdict& verdict : batch.verdicts()) {
    delivered += verdict.kind() == Verdict::delivered ? 1 : 0;
    dead += verdict.kind() == Verdict::refused ? 1 : 0;
  }
  flow_.ledger.add_delivered(delivered);
  flow_.ledger.add_dead(dead);
  worker.delivered.fetch_add(delivered);
  if (flow_.settle && delivered + dead > 0) settle(worker, batch);
  const bool is_over = delivered + dead == batch.size();
  if (is_over) batch.release_all();
  worker.events.store(batch.size());
  worker.since.store(Clock::now().time_since_epoch().count());
  // Last of all: with the last ticket a shutdown goes on.
  if (delivered + dead > 0) flow_.door.give_back_events(delivered + dead);
  worker.claim.rest();
  if (call.works ? health_.worked() : health_.failed(Clock::now(), worker.probe, call.passed_over > 0, call.reason)) {
    flow_.queue.nudge();
  }
  if (!is_over) hand_over(worker, batch, call);
  return sync_if(worker, sink, When::due);
}

// A record that cannot be kept for want of memory is not: the event comes once more in the next run.
void Pool::settle(Worker& worker, const Batch& batch) {
  bool soon = false;
  batch.each_finished([&](Block& block, std::uint64_t first, std::uint32_t count) {
    try {
      soon = flow_.settle(worker.index, block, first, count) || soon;
    } catch (const std::bad_alloc&) {
      return;
    }
  });
  if (!flow_.sink_synced) return;
  worker.unsynced_since = soon ? Clock::time_point::min() : std::min(worker.unsynced_since, Clock::now());
}

// When the sink is to be synced: what it has by then and has not synced comes twice after a `kill -9`, so where that
// takes less than a fiftieth of the worker's time it is sooner; and so it is in a stop, so that little is left to do
// behind the last batch.
Clock::time_point Pool::sync_due(const Worker& worker) const {
  if (worker.unsynced_since == Clock::time_point::max()) return Clock::time_point::max();
  Clock::duration every =
      std::min<Clock::duration>(flow_.sync_every, std::max<Clock::duration>(flow_.sync_soonest, 50 * worker.sync_took));
  if (stopping_.load()) every = std::min(every, (flow_.stop.deadline() - Clock::now()) / 10);
  return worker.unsynced_since + every;
}

// Between batches, under Ack::written: has the sink make durable what it was given, and then settles that. It counts as
// `in_sink`, so that a sink that hangs here is named and left behind. False: it was, and the worker has to go.
bool Pool::sync_if(Worker& worker, Sink& sink, When when) {
  if (worker.unsynced_since == Clock::time_point::max()) return true;
  const auto began = Clock::now();
  if (when == When::due && began < sync_due(worker)) return true;
  worker.since.store(began.time_since_epoch().count());
  bool goes_on = worker.claim.state() != WorkerState::kept;  // or it is the last one, past the deadline
  if (goes_on) {
    worker.claim.take();
    goes_on = worker.claim.enter_sink();
  }
  worker.busy.begin(began);
  bool durable = true;
  std::string reason;
  try {
    sink.sync();
  } catch (...) {
    durable = false;
    reason = reason_of_failure();
  }
  const auto ended = Clock::now();
  worker.busy.end(ended);
  worker.unsynced_since = Clock::time_point::max();
  worker.sync_took = ended - began;
  std::uint64_t events = 0;
  try {
    events = flow_.sink_synced(worker.index, durable);
  } catch (const std::bad_alloc&) {
    events = 0;  // they come once more
  }
  if (!durable) {
    if (const std::uint64_t times = sync_failures_.tell(); times > 0) {
      log(LogLevel::error,
          "sink could not be synced, what it was given since comes again in the next run worker={} sink={} events={} "
          "failures={} reason=\"{}\"",
          worker.index, worker.sink_name, events, times, reason);
    }
  }
  if (!goes_on || !worker.claim.answer()) return false;
  worker.since.store(ended.time_since_epoch().count());
  worker.claim.rest();
  return true;
}

// Asks the sink for its verdicts. All of it is `in_sink`, and keeping the refused aside is `burying`. False: the batch
// was taken away meanwhile.
bool Pool::deliver(Worker& worker, Sink& sink, Batch& batch, Call& call) {
  batch.clear_verdicts();
  worker.events.store(batch.size());
  worker.first_sequence.store(batch.deliveries().front().id.sequence);
  worker.attempt.store(batch.past().attempt);
  worker.since.store(Clock::now().time_since_epoch().count());
  if (!worker.claim.enter_sink()) return false;

  call.in_stop = stopping_.load();
  const auto began = Clock::now();
  worker.busy.begin(began);
  worker.batch_events.add(batch.size());
  try {
    sink.deliver(batch.deliveries(), batch.verdicts(), worker.stop);
  } catch (...) {
    call.reason = reason_of_failure();
    batch.clear_verdicts();
  }
  const auto ended = Clock::now();
  worker.busy.end(ended);
  worker.sink_time.add(ended - began);
  if (worker.claim.state() == WorkerState::kept) return false;

  const auto is_delivered = [](const Verdict& verdict) { return verdict.kind() == Verdict::delivered; };
  const auto delivered = static_cast<std::size_t>(std::ranges::count_if(batch.verdicts(), is_delivered));
  if (delivered == batch.size()) return true;
  if (sink.gone() && !gone_.exchange(true)) flow_.door.hasten(Clock::now());  // a stop waits for it no longer
  judge(worker, batch, delivered, call);
  return bury_refused(worker, batch, call);
}

// What the verdicts come to, where not all are delivered.
void Pool::judge(Worker& worker, Batch& batch, std::size_t delivered, Call& call) {
  const Past& past = batch.past();
  // Suspects that fill more than half of the window keep out others that could pass: that counts as well, or they would
  // stay for ever.
  const bool fills_window = flow_.queue.size_approx() == 0 &&
                            !flow_.door.has_room(flow_.door.event_limit() / 2, flow_.door.window_bytes() / 2);
  const bool is_suspect = past.suspect && past.attempt > 1;
  const bool others_pass = delivered > 0 || (past.attempt > 1 && flow_.ledger.delivered() > past.delivered_then) ||
                           (is_suspect && fills_window);
  call.passed_over = past.passed_over + (others_pass ? 1 : 0);
  call.works = std::ranges::any_of(batch.verdicts(), [](const Verdict& v) { return v.kind() != Verdict::try_again; });

  const std::uint32_t most_passed_over = flow_.options.retry_limit ? UINT32_MAX : kDefaultRetryLimit;
  std::size_t again = 0;
  for (Verdict& verdict : batch.verdicts()) {
    if (verdict.is_final()) continue;
    ++again;
    try {
      if (call.reason.empty()) call.reason = verdict.reason();
      const std::string_view reason = or_none(verdict.reason().empty() ? call.reason : verdict.reason());
      const std::size_t limit = flow_.options.retry_limit.value_or(0);
      if (limit > 0 && past.attempt >= limit) {
        verdict = {Verdict::refused, fmt::format("given up after {} attempts: {}", past.attempt, reason)};
      } else if (call.passed_over >= (verdict == Verdict::suspect ? kMostPassedOver : most_passed_over)) {
        verdict = {Verdict::refused,
                   fmt::format("it failed {} times while others were delivered: {}", call.passed_over, reason)};
      }
    } catch (const std::bad_alloc&) {
      continue;  // it is sent again
    }
  }
  if (again == 0) return;
  if (const std::uint64_t times = sink_failures_.tell(); times > 0) {
    log(LogLevel::warn, "sink failed, trying again worker={} sink={} events={} attempt={} failures={} reason=\"{}\"",
        worker.index, worker.sink_name, again, past.attempt, times, or_none(call.reason));
  }
}

// Refused events are kept aside before they count as dead; if that fails they are sent again. While it lasts the batch
// is not taken away, or it would be kept as well, unless the disk takes longer than a stop can wait. False: it was.
bool Pool::bury_refused(Worker& worker, Batch& batch, Call& call) {
  const auto is_refused = [](const Verdict& verdict) { return verdict.kind() == Verdict::refused; };
  if (std::ranges::none_of(batch.verdicts(), is_refused)) return true;
  if (!worker.claim.bury()) return false;
  std::error_code error;
  std::vector<DeadEvent> dead;
  try {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Verdict& verdict = batch.verdicts()[i];
      if (is_refused(verdict)) dead.push_back({&batch.deliveries()[i], verdict.reason()});
    }
    error = flow_.bury(dead);
  } catch (const std::bad_alloc&) {
    error = std::make_error_code(std::errc::not_enough_memory);
  }
  if (!error) {
    tell_dead(worker, dead);
    return true;
  }
  call.unburied = true;
  if (const std::uint64_t times = burial_failures_.tell(); times > 0) {
    log(LogLevel::error, "dead letters cannot be kept, trying again events={} reason=\"{}\"",
        std::ranges::count_if(batch.verdicts(), is_refused), error.message());
  }
  for (Verdict& verdict : batch.verdicts()) {
    if (is_refused(verdict)) verdict = Verdict::try_again;
  }
  return true;
}

// A sink, or whoever sends to it, can make as many as there are events: one line a second, which names one of them. All
// are in the dead letters and in the books.
void Pool::tell_dead(const Worker& worker, std::span<const DeadEvent> dead) {
  const std::uint64_t events = dead_events_.tell(dead.size());
  if (events == 0) return;
  const DeadEvent& first = dead.front();
  log(LogLevel::warn, "event is dead id={} sink={} attempts={} reason=\"{}\" events={}", to_string(first.event->id),
      worker.sink_name, first.event->attempt, first.reason, events);
}

// Those at the end of a burst, which no line would count otherwise.
void Pool::tell_dead_rest(Clock::time_point now) {
  if (const std::uint64_t events = dead_events_.tell_rest(now); events > 0) {
    log(LogLevel::warn, "more events are dead events={}", events);
  }
}

// What is not finished waits in the lane for its next attempt. In a stop, what has failed before, and now again while
// the sink works, is put aside instead.
void Pool::hand_over(Worker& worker, Batch& batch, const Call& call) {
  const std::size_t size = batch.size();
  Past past = batch.past();
  const bool has_failed_before = past.attempt > 1;
  const std::uint32_t passed_over_before = past.passed_over;
  ++past.attempt;
  past.passed_over = call.passed_over;
  past.delivered_then = flow_.ledger.delivered();
  if (!with_memory([&] { batch.part(flow_.door, worker.again, worker.suspect); })) {
    batch.release_all();
    return;
  }

  const auto due_before = lane_.next_due();
  for (std::vector<Slice>* const runs : {&worker.again, &worker.suspect}) {
    if (runs->empty()) continue;
    past.suspect = runs == &worker.suspect;
    const bool sink_works = past.suspect || (past.passed_over > 0 && (call.works || !health_.failing()));
    if (call.in_stop && has_failed_before && sink_works && !call.unburied) {
      keep(worker, *runs, call.reason);
      continue;
    }
    const bool at_once = stopping_.load() && sink_works && !call.unburied;
    // A batch that failed as a whole, while others passed or where there are no others: half of it may be good.
    const bool in_halves = !call.works && has_failed_before && events_in(*runs) == size &&
                           (past.passed_over > passed_over_before || lane_.batches() < kFewBatches);
    const std::uint32_t times = call.works ? past.attempt - 2 : std::max(past.passed_over, 1U) - 1;
    if (in_halves && size > 1) past.passed_over = std::min(past.passed_over, 1U);  // each half begins anew
    const auto most = backoff::doubled(flow_.options.retry_min, flow_.options.retry_max, times);
    const auto wait = at_once ? std::chrono::nanoseconds{0} : backoff::jittered({}, most, worker.random);
    if (!with_memory([&] { lane_.put(*runs, past, wait, in_halves); })) lane_.keep(*runs);
    runs->clear();
  }
  worker.events.store(0);
  if (lane_.next_due() < due_before) flow_.queue.nudge();  // others wait for longer than that
}

// The stop's last word on what the sink does not take: it is there for the next start, and is waited for no longer.
void Pool::keep(Worker& worker, std::vector<Slice>& runs, std::string_view reason) {
  const std::size_t events = events_in(runs);
  std::uint64_t number = kept_.fetch_add(events);
  for (const Slice& run : runs) {
    for (std::uint32_t i = run.first; i < run.first + run.count && number < kMostNamed; ++i, ++number) {
      log(LogLevel::warn, "event is kept, the sink does not take it id={} sink={} reason=\"{}\"",
          to_string(run.block->delivery(i).id), worker.sink_name, or_none(reason));
    }
  }
  lane_.keep(runs);
  flow_.door.give_back_events(events);
}

// Does it as soon as there is memory for it. False: the queue was closed before.
template <typename Step>
bool Pool::with_memory(Step step) {
  for (;;) {
    try {
      step();
      return true;
    } catch (const std::bad_alloc&) {
      if (flow_.queue.closed()) return false;
      flow_.queue.wait_nudge(flow_.queue.nudges(), Clock::now() + kNoMemory);
    }
  }
}

template <typename... Args>
void Pool::log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) noexcept {
  try {
    flow_.log(level, fmt::format(format, std::forward<Args>(args)...));
  } catch (const std::bad_alloc&) {
    return;  // a line less
  }
}

void Pool::hurry(Clock::time_point deadline) {
  stopping_.store(true);
  const auto now = Clock::now();
  lane_.hurry(now, deadline, flow_.ledger.delivered());
  health_.hurry(now, deadline);
  flow_.queue.nudge();
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

void Pool::show(Status& to) const {
  to.workers = status();
  to.retrying = lane_.events();
  SinkHealth::State sink = health_.state();
  to.sink_failing = sink.failing;
  to.sink_failing_since = sink.since;
  to.sink_cause = std::move(sink.reason);
}

void Pool::show(Metrics& to) const {
  to.retry_events = lane_.events();
  to.sink_failing = health_.troubled() && health_.failing();
  for (const auto& worker : workers_) {
    if (worker->claim.state() == WorkerState::in_sink) to.in_flight += worker->events.load();
    to.worker_busy.push_back(worker->busy.so_far());
    worker->batch_events.show(to.batch_events);
    worker->sink_time.show(to.sink_seconds);
  }
}

void Pool::expire(Clock::time_point until) {
  assert(flow_.queue.closed() && "a worker could take a batch behind our back");
  for (const auto& worker : workers_) static_cast<void>(worker->claim.keep(until));
  // Only now: callbacks on the token run on this thread.
  for (const auto& worker : workers_) worker->thread.request_stop();
}

bool Pool::wait_gone(std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, until, [this] {
    return std::ranges::all_of(workers_, [](const auto& worker) { return worker->finished; });
  });
}

std::vector<WorkerStatus> Pool::join(std::chrono::steady_clock::time_point until) {
  std::vector<WorkerStatus> left_behind;
  tell_dead_rest(Clock::time_point::max());
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
