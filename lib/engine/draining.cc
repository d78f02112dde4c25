// The stop: one list that reads aloud, run by the first thread that asks; the others wait for its report. It ends at
// the deadline, whatever a sink or a disk does. It refuses to end without an account: what it had to leave is in it.
#include <fmt/core.h>

#include <algorithm>

#include "engine/engine.h"

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
// And behind the deadline a disk has this long for the checkpoint; what it does not settle by then comes once more.
constexpr nanoseconds kCheckpoint = milliseconds{30};

}  // namespace

Report Tracker::Engine::shutdown(Deadline deadline) {
  const Deadline end = at_least(deadline);
  const bool first = stop_.begin(end);
  door_.hasten(end);
  if (!first) return stop_.wait_report();
  Report report = drain();
  stop_.finish(report);
  return report;
}

void Tracker::Engine::hasten(Deadline deadline) {
  const Deadline end = at_least(deadline);
  stop_.hasten(end);
  door_.hasten(end);
  if (disked_ && options_.ack == Ack::queued && door_.closed()) disked_->committer.want_spill();
}

void Tracker::Engine::retire() {
  const bool was_stopped = stop_.phase() == Phase::stopped;
  const Report report = shutdown(std::chrono::steady_clock::now());
  if (!was_stopped && report.timed_out()) log(LogLevel::warn, to_string(report));
  muted_.store(true);
}

Deadline Tracker::Engine::at_least(Deadline deadline) const noexcept {
  return std::max(deadline, std::chrono::steady_clock::now() + least_drain());
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
  static_cast<void>(stop_.on(Happening::door_closed));

  // 2 Wait until no ticket is out, or the deadline.
  const bool drained = wait_drained();

  // 3 Close the queue: the workers go.
  queue_.close();
  static_cast<void>(stop_.on(drained ? Happening::drained : Happening::deadline));

  // 4 Past the deadline, take what is in sinks away from the workers, ask them to stop and wait no longer.
  if (!drained) pool_->expire();
  const auto grace = [&] {  // what is drained may take its time to go
    const Deadline soon = std::chrono::steady_clock::now() + kGrace;
    return drained ? std::max(stop_.deadline(), soon) : soon;
  };
  Report report;
  report.held_up_by = pool_->join(grace());

  // 5 Checkpoint the journal: what was delivered is settled, what was not is kept.
  if (disked_) {
    const bool fed = disked_->feeder.join(grace());
    const bool ended =
        disked_->committer.stop(std::max(stop_.deadline(), std::chrono::steady_clock::now()) + kCheckpoint);
    report.disk_stuck = !fed || !ended;
    report.disk_failed = disked_->journal.failed() || (ended && !disked_->committer.checkpointed());
    if (!ended) abandoned_.store(true);
  }

  // 6 The account. What no disk holds is lost.
  const std::uint64_t left = on_no_disk(books());
  ledger_.add_lost(left);
  if (left > 0) log(LogLevel::error, fmt::format("events are lost, the deadline has cut them off events={}", left));
  report.books = books();
  report.reason = reason_for(drained, report);
  report.elapsed = stop_.elapsed();
  static_cast<void>(stop_.on(Happening::reported));
  return report;
}

// Until no ticket is out, or the deadline. Half way, what has no record is written down; a while before the end it is
// said who holds it up, and what the disk refused is tried again while the workers still have it.
bool Tracker::Engine::wait_drained() {
  const Deadline begin = std::chrono::steady_clock::now();
  const Deadline end = stop_.deadline();
  const auto spill = [this] {
    if (disked_ && options_.ack == Ack::queued) disked_->committer.want_spill();
  };
  if (door_.wait_empty(begin + (end - begin) / 2)) return true;
  spill();
  if (door_.wait_empty(end - (end - begin) / 10)) return true;
  spill();
  name_who_holds_it_up();
  return door_.wait_empty(stop_.deadline());
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
    return report.disk_stuck || report.disk_failed ? Reason::fault : Reason::drained;
  }
  return stop_.hastened() ? Reason::signal : Reason::deadline;
}

}  // namespace sluice
