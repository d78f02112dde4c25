// START HERE. A Tracker takes events and sees to it that they are delivered, also when the program is stopped.
//
//   sluice::Tracker tracker({}, [](const sluice::Delivery& event) { std::cout << event.text() << '\n'; });
//   if (tracker.track(sluice::event_of("hello")) != sluice::Admit::accepted) ...   // an answer, never silence
//   sluice::Report report = tracker.shutdown(5s);                                  // drained, or who held it up
//
// Events go door -> queue -> workers -> sink. The door is bounded in events and bytes and can be closed; a fixed pool
// of workers, each with a sink of its own, delivers; shutdown() closes the door, lets the workers drain and ends at the
// deadline, whatever a sink does.
//
// Threads: any may call anything here at any time, but for the destructor, which comes when all other calls are over. A
// tracker has a thread a worker, and with a state directory two more. They inherit the signal mask of who makes it, and
// no signal is handled, blocked or ignored here: that is the program's. They do not survive a fork(): make it after.
// Order: events go to the workers in the order of their ids. One worker delivers them so, but for those tried again.
// Errors: expected ones are answers. Only a constructor throws StartError; where memory is out, std::bad_alloc comes.
#pragma once

#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <span>

#include "sluice/api.h"
#include "sluice/deadline.h"
#include "sluice/error.h"
#include "sluice/event.h"
#include "sluice/metrics.h"
#include "sluice/options.h"
#include "sluice/report.h"
#include "sluice/sink.h"

namespace sluice {

// How a request ended: `accepted` with the ids of its first and last event (those between are numbered between), or
// `failed`, without.
struct Outcome {
  Admit answer = Admit::failed;
  EventId first, last;
};
// Told of it, once.
using Receipt = std::function<void(const Outcome&)>;

class SLUICE_API Tracker {
 public:
  // Running once constructed: every worker has its sink, and what a former tracker has left in the state directory is
  // on its way to them; a disk that fails throws nothing, see disk_failed(). Throws StartError (usage, unusable: an
  // option; in_use: another tracker, or what one had to leave behind, has the directory), or what a factory threw.
  Tracker(Options options, SinkFactory sinks);
  Tracker(Options options, Handler handler);
  ~Tracker();  // shutdown(now), which takes least_drain() at most and a little; what it had to leave is logged
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  // Takes all of them or none, in this order, as copies; never waits for room. On any answer but `accepted` and
  // `failed` nothing was taken. No events at all: `accepted`, nothing happens. Under Ack::queued it costs a copy and a
  // short lock, unless events go by way of the disk; otherwise it returns after the write or the fdatasync that it
  // shares with all who wait. A bulk costs hardly more than one event: give what you have together.
  [[nodiscard]] Admit track(const Event& event);
  [[nodiscard]] Admit track(std::span<const Event> events);

  // The same, waiting for room until the deadline; then `full`. Not for a sink, which may be what it would wait for.
  [[nodiscard]] Admit wait_track(std::span<const Event> events, Deadline deadline);

  // The same without waiting for the disk either: on `accepted` the receipt will be called exactly once, with what
  // became of it: under Ack::queued before this returns, on this thread, unless the events go by way of the disk;
  // otherwise by the committer, on its thread, which waits meanwhile. On any other answer it is never called, nor
  // where a stop had to leave behind a disk that does not answer. It must not throw, and must not call what may wait: a
  // track() without a receipt, wait_track(), shutdown().
  [[nodiscard]] Admit track(std::span<const Event> events, const Receipt& receipt);

  // Closes the door, waits until every accepted event is finished or the deadline has passed, and accounts for all.
  // Idempotent, from any thread: the earliest deadline counts, everybody gets the same report. Deadlines closer than
  // least_drain() from now are moved there. It returns at the deadline, at most 100 ms late; a worker stuck in its sink
  // is left behind, with all that it refers to (see sink.h). Must not be called by a sink or a receipt.
  Report shutdown(Deadline deadline);
  template <std::integral Rep, class Period>
  Report shutdown(std::chrono::duration<Rep, Period> at_most) {
    return shutdown(deadline_in(at_most));
  }

  // Moves the deadline of a shutdown that is under way forward (never back), without waiting. Before any shutdown it is
  // remembered for it, which still gets least_drain() from its own beginning.
  void hasten(Deadline deadline);

  // The oldest dead letters, at most so many, become new events, with new ids and the old one in their content type
  // (`; requeued=OLD-ID`), or are thrown away. One is struck off only once its event is accepted as firmly as the ack
  // level says; of several callers one waits for the other. Without a state directory there are none.
  [[nodiscard]] DeadLettersMoved requeue_dead_letters(std::size_t at_most);
  [[nodiscard]] DeadLettersMoved drop_dead_letters(std::size_t at_most);

  // What even a shutdown(now) gets: 100 ms, and 2 ms for each MiB in memory that has no record on disk.
  [[nodiscard]] std::chrono::nanoseconds least_drain() const noexcept;

  // The books of this instant, balanced. Reads atomics only: may be called in a signal handler.
  [[nodiscard]] Books books() const noexcept;

  // The books as they would be if the process ended at this instant: what no disk holds is lost, not kept. Signal safe.
  [[nodiscard]] Books books_at_exit() const noexcept;

  // The disk has failed and does not work again yet: new events are refused. Reads an atomic.
  [[nodiscard]] bool disk_failed() const noexcept;

  // Where it is in its life. Reads an atomic.
  [[nodiscard]] Phase phase() const noexcept;

  // The phase becomes `closing`: for a program that closes an intake of its own before it calls shutdown(). Events are
  // still accepted. Idempotent.
  void announce_stop();

  // What there is to see, of about one instant; only its books are exact. Allocates; meant for once a second or so.
  [[nodiscard]] Status status() const;

  // Numbers for a monitoring system. Cheap enough to be asked for a hundred times a second; takes no lock at all.
  [[nodiscard]] Metrics metrics() const;

  // The first half of all ids that this tracker gives.
  [[nodiscard]] const RunId& run() const noexcept;

 private:
  friend class TrackerOnDisk;  // the tests' way in
  struct Engine;               // what workers touch as well
  Tracker(std::shared_ptr<Engine> engine, const SinkFactory& sinks);
  std::shared_ptr<Engine> engine_;  // owners: the tracker, and each worker for as long as its thread lives
};

}  // namespace sluice
