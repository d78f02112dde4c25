// Steps 3 to 7 of the stop (the list is in daemon/stop.h), run by the first thread that calls shutdown(); other callers
// wait for its report. It ends at the deadline, whatever a sink or a disk does, and always reports: events that were
// left are counted.
#include <fmt/core.h>

#include <algorithm>

#include "tracker/engine.h"

namespace sluice {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// The shortest stop, so that batches in workers can be counted. The second part is for writing down the events in
// memory, at 0.5 GB/s: any disk does that.
constexpr nanoseconds kLeastDrain = milliseconds{100};
constexpr nanoseconds kDrainPerMiB = milliseconds{2};
// Past the deadline, a sink that obeys its stop token returns within this time, and its thread is joined.
constexpr nanoseconds kGrace = milliseconds{10};
// A worker that was left behind may be in the log hook when the tracker is destroyed; a hook must not block for longer.
constexpr nanoseconds kLastLine = milliseconds{1000};

}  // namespace

Report Tracker::Engine::shutdown(Deadline deadline) {
  const Deadline least = deadline_in(least_drain());
  const bool first = stop_.begin(std::max(deadline, least), least);
  door_.hasten(stop_.deadline());
  if (!first) {
    pool_->hurry(stop_.deadline());
    return stop_.wait_report();
  }
  Report report = drain();
  stop_.finish(report);
  return report;
}

void Tracker::Engine::hasten(Deadline deadline) {
  const Deadline end = std::max(deadline, deadline_in(least_drain()));
  if (!stop_.hasten(end)) return;  // shutdown() takes it into account
  door_.hasten(end);
  pool_->hurry(end);
  if (door_.closed()) spill();
}

void Tracker::Engine::retire() {
  const bool was_stopped = stop_.phase() == Phase::stopped;
  const Report report = shutdown(std::chrono::steady_clock::now());
  if (!was_stopped && !report.drained()) log(LogLevel::warn, to_string(report));
  hook_.close();
  static_cast<void>(hook_.wait_empty(kLastLine));
}

nanoseconds Tracker::Engine::least_drain() const noexcept {
  if (options_.ack != Ack::queued) return kLeastDrain;  // every event in memory has its record
  return kLeastDrain + kDrainPerMiB * static_cast<std::int64_t>(door_.bytes_out() >> 20U);
}

// Steps 3 to 7 of the stop list in daemon/stop.h; a program without an intake of its own begins with them.
Report Tracker::Engine::drain() {
  close_door();
  const bool drained = wait_drained();
  Report report;
  close_queue(drained, report);
  if (disked_) checkpoint(drained, report);
  count(drained, report);
  return report;
}

// 3. Close the door: no event is admitted any more. The feeder stops, and no worker waits for a fuller batch.
void Tracker::Engine::close_door() {
  door_.close();
  if (disked_) disked_->feeder.stop();
  queue_.hurry();
  pool_->hurry(stop_.deadline());
  stop_.advance(Signal::door_closed);
}

// 4. Drain: workers deliver the admitted events until none is left or the deadline passes. If the sink is dead, the
// wait ends at once. At half time, events without a record are written down. At 90 %, the log names the workers that
// hold up the stop, and writes that failed are repeated while the workers still have the events.
bool Tracker::Engine::wait_drained() {
  const Deadline begin = std::chrono::steady_clock::now();
  const Deadline end = stop_.deadline();
  bool drained = door_.wait_empty(begin + (end - begin) / 2);
  if (!drained) {
    spill();
    drained = door_.wait_empty(end - (end - begin) / 10);
  }
  if (!drained) {
    spill();
    if (!pool_->gone()) name_who_holds_it_up();
    drained = door_.wait_empty(stop_.deadline());
  }
  if (pool_->kept() > 0) spill();
  return drained;
}

// Writes down the events in memory that have no record, as soon as the committer can.
void Tracker::Engine::spill() {
  if (disked_ && options_.ack == Ack::queued) disked_->committer.want_spill();
}

// How long step 5 and 6 wait for threads. A drained stop has until the deadline.
Deadline Tracker::Engine::grace(bool drained) const {
  const Deadline soon = std::chrono::steady_clock::now() + kGrace;
  return drained ? std::max(stop_.deadline(), soon) : soon;
}

// 5. Close the queue: the workers end and their sinks sync; past the deadline, unfinished batches are taken from them.
void Tracker::Engine::close_queue(bool drained, Report& report) {
  queue_.close();
  if (drained) {
    wait_synced();
  } else {
    stop_.advance(Signal::deadline);
    pool_->expire(grace(drained));
  }
  report.held_up_by = pool_->join(grace(drained));
}

// 6. Checkpoint the journal: delivered events are settled, all others are kept for the next start.
void Tracker::Engine::checkpoint(bool drained, Report& report) {
  const bool fed = disked_->feeder.join(grace(drained));
  const Deadline end = std::max(stop_.deadline(), std::chrono::steady_clock::now());
  const bool ended = disked_->committer.stop(later(end, disked_->checkpoint_time));
  report.disk_stuck = !fed || !ended;
  report.disk_failed = disked_->journal.failed() || (ended && !disked_->committer.checkpointed());
  if (!ended) abandoned_.store(true);
}

// 7. Count: the books are balanced; an event that no disk holds is lost.
void Tracker::Engine::count(bool drained, Report& report) {
  const std::uint64_t left = on_no_disk(books());
  written_off_.store(left);
  if (left > 0) log(LogLevel::error, fmt::format("events are lost, the deadline has cut them off events={}", left));
  report.books = books();
  report.reason = reason_for(drained, report);
  report.elapsed = stop_.elapsed();
  stop_.advance(Signal::reported);
}

// Until the workers have ended, or the deadline, which may come nearer meanwhile.
void Tracker::Engine::wait_synced() {
  constexpr nanoseconds kLook = milliseconds{10};
  const Deadline begin = std::chrono::steady_clock::now();
  bool named = false;
  for (Deadline now = begin; now < stop_.deadline(); now = std::chrono::steady_clock::now()) {
    if (pool_->wait_gone(std::min(stop_.deadline(), now + kLook))) return;
    if (!named && now - begin > (stop_.deadline() - begin) / 10 * 9) {
      named = true;
      name_who_holds_it_up();
    }
  }
}

void Tracker::Engine::name_who_holds_it_up() {
  for (const WorkerStatus& worker : pool_->status()) {
    if (worker.state != WorkerState::in_sink) continue;
    log(LogLevel::warn, fmt::format("the stop is held up worker={} sink={} events={} first={} attempt={} for={:.3f}s",
                                    worker.worker, worker.sink, worker.events, worker.first_sequence, worker.attempt,
                                    std::chrono::duration<double>(worker.in_state).count()));
  }
}

Reason Tracker::Engine::reason_for(bool drained, const Report& report) const {
  if (drained && report.held_up_by.empty()) {
    if (report.disk_stuck || report.disk_failed) return Reason::fault;
    return pool_->kept() > 0 ? Reason::sink : Reason::drained;
  }
  if (!drained && pool_->gone()) return Reason::sink;
  return stop_.hastened() ? Reason::signal : Reason::deadline;
}

}  // namespace sluice
