// See the header. The steps of the stop, a function each, in their order.
#include "tracker/drain.h"

#include <fmt/core.h>

#include <algorithm>

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

}  // namespace

Report Drain::shutdown(Deadline deadline) {
  const Deadline least = deadline_in(least_drain());
  const bool first = stop_.begin(std::max(deadline, least), least);
  parts_.door.hasten(stop_.deadline());
  if (!first) {
    parts_.pool->hurry(stop_.deadline());
    return stop_.wait_report();
  }
  Report report = drain();
  stop_.finish(report);
  return report;
}

void Drain::hasten(Deadline deadline) {
  const Deadline end = std::max(deadline, deadline_in(least_drain()));
  if (!stop_.hasten(end)) return;  // shutdown() takes it into account
  parts_.door.hasten(end);
  parts_.pool->hurry(end);
  if (parts_.door.closed()) spill();
}

nanoseconds Drain::least_drain() const noexcept {
  if (parts_.options.ack != Ack::queued) return kLeastDrain;  // every event in memory has its record
  return kLeastDrain + kDrainPerMiB * static_cast<std::int64_t>(parts_.door.bytes_out() >> 20U);
}

// Steps 3 to 7 of the stop list in daemon/stop.h; a program without an intake of its own begins with them.
Report Drain::drain() {
  close_door();
  const bool drained = wait_drained();
  Report report;
  close_queue(drained, report);
  if (parts_.disked) checkpoint(drained, report);
  count(drained, report);
  return report;
}

// 3. Close the door: no event is admitted any more. The feeder stops, and no worker waits for a fuller batch.
void Drain::close_door() {
  parts_.door.close();
  if (parts_.disked) parts_.disked->feeder.stop();
  parts_.queue.hurry();
  parts_.pool->hurry(stop_.deadline());
  stop_.advance(Signal::door_closed);
}

// 4. Drain: workers deliver the admitted events until none is left or the deadline passes. If the sink is dead, the
// wait ends at once. At half time, events without a record are written down. At 90 %, the log names the workers that
// hold up the stop, and writes that failed are repeated while the workers still have the events.
bool Drain::wait_drained() {
  const Deadline begin = std::chrono::steady_clock::now();
  const Deadline end = stop_.deadline();
  bool drained = parts_.door.wait_empty(begin + (end - begin) / 2);
  if (!drained) {
    spill();
    drained = parts_.door.wait_empty(end - (end - begin) / 10);
  }
  if (!drained) {
    spill();
    if (!parts_.pool->gone()) name_who_holds_it_up();
    drained = parts_.door.wait_empty(stop_.deadline());
  }
  if (parts_.pool->kept() > 0) spill();
  return drained;
}

// Writes down the events in memory that have no record, as soon as the committer can.
void Drain::spill() {
  if (parts_.disked && parts_.options.ack == Ack::queued) parts_.disked->committer.want_spill();
}

// How long step 5 and 6 wait for threads. A drained stop has until the deadline.
Deadline Drain::grace(bool drained) const {
  const Deadline soon = std::chrono::steady_clock::now() + kGrace;
  return drained ? std::max(stop_.deadline(), soon) : soon;
}

// 5. Close the queue: the workers end and their sinks sync; past the deadline, unfinished batches are taken from them.
void Drain::close_queue(bool drained, Report& report) {
  parts_.queue.close();
  if (drained) {
    wait_synced();
  } else {
    stop_.advance(Signal::deadline);
    parts_.pool->expire(grace(drained));
  }
  report.held_up_by = parts_.pool->join(grace(drained));
}

// 6. Checkpoint the journal: delivered events are settled, all others are kept for the next start.
void Drain::checkpoint(bool drained, Report& report) {
  const bool fed = parts_.disked->feeder.join(grace(drained));
  const Deadline end = std::max(stop_.deadline(), std::chrono::steady_clock::now());
  const bool ended = parts_.disked->committer.stop(later(end, parts_.disked->checkpoint_time));
  report.disk_stuck = !fed || !ended;
  report.disk_failed = parts_.disked->journal.failed() || (ended && !parts_.disked->committer.checkpointed());
  if (!ended) parts_.intake.abandon();
}

// 7. Count: the books are balanced; an event that no disk holds is lost.
void Drain::count(bool drained, Report& report) {
  const std::uint64_t left = parts_.account.write_off();
  if (left > 0)
    parts_.log(LogLevel::error, fmt::format("events are lost, the deadline has cut them off events={}", left));
  report.books = parts_.account.books();
  report.reason = reason_for(drained, report);
  report.elapsed = stop_.elapsed();
  stop_.advance(Signal::reported);
}

// Until the workers have ended, or the deadline, which may come nearer meanwhile.
void Drain::wait_synced() {
  constexpr nanoseconds kLook = milliseconds{10};
  const Deadline begin = std::chrono::steady_clock::now();
  bool named = false;
  for (Deadline now = begin; now < stop_.deadline(); now = std::chrono::steady_clock::now()) {
    if (parts_.pool->wait_gone(std::min(stop_.deadline(), now + kLook))) return;
    if (!named && now - begin > (stop_.deadline() - begin) / 10 * 9) {
      named = true;
      name_who_holds_it_up();
    }
  }
}

void Drain::name_who_holds_it_up() {
  for (const WorkerStatus& worker : parts_.pool->status()) {
    if (worker.state != WorkerState::in_sink) continue;
    parts_.log(LogLevel::warn,
               fmt::format("the stop is held up worker={} sink={} events={} first={} attempt={} for={:.3f}s",
                           worker.worker, worker.sink, worker.events, worker.first_sequence, worker.attempt,
                           std::chrono::duration<double>(worker.in_state).count()));
  }
}

Reason Drain::reason_for(bool drained, const Report& report) const {
  if (drained && report.held_up_by.empty()) {
    if (report.disk_stuck || report.disk_failed) return Reason::fault;
    return parts_.pool->kept() > 0 ? Reason::sink : Reason::drained;
  }
  if (!drained && parts_.pool->gone()) return Reason::sink;
  return stop_.hastened() ? Reason::signal : Reason::deadline;
}

}  // namespace sluice
