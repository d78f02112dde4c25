// The stop: one list that reads aloud, run by the first thread that asks; the others wait for its report. It ends at
// the deadline, whatever a sink or a disk does. It refuses to end without an account: what it had to leave is in it.
#include <fmt/core.h>

#include <algorithm>

#include "tracker/engine.h"

namespace sluice {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// What shutdown(now) still gets, so that what is in hand can be accounted for. The second part is for writing down what
// is in memory, at the 0.5 GB/s that a disk can be trusted with.
constexpr nanoseconds kLeastDrain = milliseconds{100};
constexpr nanoseconds kDrainPerMiB = milliseconds{2};
// Past the deadline a sink that heeds its stop token may come back within this, and be joined instead of let go.
constexpr nanoseconds kGrace = milliseconds{10};

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
  if (!stop_.hasten(end)) return;  // shutdown() will know of it
  door_.hasten(end);
  pool_->hurry(end);
  if (door_.closed()) spill();
}

void Tracker::Engine::retire() {
  const bool was_stopped = stop_.phase() == Phase::stopped;
  const Report report = shutdown(std::chrono::steady_clock::now());
  if (!was_stopped && !report.drained()) log(LogLevel::warn, to_string(report));
  log_.close();
}

nanoseconds Tracker::Engine::least_drain() const noexcept {
  if (options_.ack != Ack::queued) return kLeastDrain;  // what is in memory has its record
  return kLeastDrain + kDrainPerMiB * static_cast<std::int64_t>(door_.bytes_out() >> 20U);
}

// The stop, as it is read aloud.
Report Tracker::Engine::drain() {
  // 1 Close the door: from here nobody gets a ticket, the feeder brings no more, and no worker lingers for a fuller
  //   batch.
  static_cast<void>(stop_.on(Happening::term));
  door_.close();
  if (disked_) disked_->feeder.stop();
  queue_.hurry();
  pool_->hurry(stop_.deadline());
  static_cast<void>(stop_.on(Happening::door_closed));

  // 2 Wait until no ticket is out, or the deadline.
  const bool drained = wait_drained();

  // 3 Close the queue: the workers go.
  queue_.close();
  static_cast<void>(stop_.on(drained ? Happening::drained : Happening::deadline));

  // 4 Before the deadline, have the sinks make durable what they were given. Past it, take what is in sinks away from
  //   the workers, ask them to stop and wait no longer.
  const auto grace = [&] {  // what is drained may take its time to go
    const Deadline soon = std::chrono::steady_clock::now() + kGrace;
    return drained ? std::max(stop_.deadline(), soon) : soon;
  };
  if (drained) {
    wait_synced();
  } else {
    pool_->expire(grace());
  }
  Report report;
  report.held_up_by = pool_->join(grace());

  // 5 Checkpoint the journal: what was delivered is settled, what was not is kept.
  if (disked_) {
    const bool fed = disked_->feeder.join(grace());
    const Deadline end = std::max(stop_.deadline(), std::chrono::steady_clock::now());
    const bool ended = disked_->committer.stop(later(end, disked_->checkpoint_time));
    report.disk_stuck = !fed || !ended;
    report.disk_failed = disked_->journal.failed() || (ended && !disked_->committer.checkpointed());
    if (!ended) intake_.abandon();
  }

  // 6 The account. What no disk holds is lost.
  const std::uint64_t left = account_.write_off();
  if (left > 0) log(LogLevel::error, fmt::format("events are lost, the deadline has cut them off events={}", left));
  report.books = account_.books();
  report.reason = reason_for(drained, report);
  report.elapsed = stop_.elapsed();
  static_cast<void>(stop_.on(Happening::reported));
  return report;
}

// Until no ticket is out, or the deadline, or at once if the sink is gone. Half way, what has no record is written
// down; a while before the end it is said who holds it up, and what the disk refused is tried again while the workers
// still have it.
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

// What is in memory and has no record is written down, as soon as the committer comes to it.
void Tracker::Engine::spill() {
  if (disked_ && options_.ack == Ack::queued) disked_->committer.want_spill();
}

// Until the workers have gone, or the deadline, which may come nearer meanwhile.
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
