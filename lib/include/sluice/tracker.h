// START HERE. A Tracker takes events and delivers them, also when the program is stopped.
//
//   sluice::Tracker tracker({}, [](const sluice::Delivery& event) { std::cout << event.text() << '\n'; });
//   if (tracker.track("hello") != sluice::Admit::accepted) ...   // an answer, never silence
//   sluice::Report report = tracker.shutdown(5s);                // drained, or which worker held it up
//
// An event passes admission, queue, worker and sink. Admission is bounded in events and bytes, and can be closed. Each
// worker of a fixed pool has its own sink. shutdown() closes admission, lets the workers drain the queue, and returns
// at the deadline, whatever a sink does.
//
// Threads: any thread may call any function at any time; the destructor must run after all other calls. A tracker has
//   one thread per worker, and two more with a state directory. They inherit the signal mask of the constructing
//   thread; signals are left to the program. They do not survive fork(): construct after it.
// Order: workers take events in the order of their ids. One worker delivers in that order, except for retries.
// Errors: expected ones are answers. Only constructors throw StartError; std::bad_alloc is possible everywhere.
#pragma once

#include <chrono>
#include <concepts>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

#include "sluice/api.h"
#include "sluice/deadline.h"
#include "sluice/error.h"
#include "sluice/event.h"
#include "sluice/options.h"
#include "sluice/report.h"
#include "sluice/sink.h"

namespace sluice {

// How a request ended: `accepted`, with the ids of its first and last event (the others are numbered between them), or
// `failed`, without ids.
struct Outcome {
  Admit answer = Admit::failed;
  EventId first{}, last{};
};
// Called once with the outcome of a request.
using Receipt = std::function<void(const Outcome&)>;

class SLUICE_API Tracker {
 public:
  // Running once constructed: every worker has its sink, and events that an earlier tracker left in the state directory
  // are being delivered. A failed disk does not throw. Throws StartError (usage or unusable: an option; in_use: another
  // tracker, or a thread that one left behind, holds the directory), or whatever a factory threw.
  Tracker(Options options, SinkFactory sinks);
  Tracker(Options options, Handler handler);
  ~Tracker();  // shutdown(now): takes about 100 ms at most without a state directory; logs what it left undelivered
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  // Copies the events and takes all of them or none, in this order; never waits for space. `{a, b}` is always a batch.
  // No events: `accepted`. Under Ack::queued it costs a copy and a short lock, unless the events go through the disk;
  // otherwise it returns after a write or fdatasync that all waiting requests share. One batch costs little more than
  // one event.
  [[nodiscard]] Admit track(const Event& event) { return track(std::span(&event, 1)); }
  [[nodiscard]] Admit track(std::span<const Event> events);
  [[nodiscard]] Admit track(std::initializer_list<Event> events) { return track(std::span(events)); }
  // A text, also a temporary one.
  template <TextLike Text>
  [[nodiscard]] Admit track(const Text& text, std::string_view content_type = "text/plain") {
    return track(Event(std::string_view(text), content_type));
  }

  // The same, but waits for space until the deadline; then `full`. Not from a sink: it may be the one that has to make
  // the space.
  [[nodiscard]] Admit wait_track(std::span<const Event> events, Deadline deadline);
  [[nodiscard]] Admit wait_track(const Event& event, Deadline deadline) {
    return wait_track(std::span(&event, 1), deadline);
  }
  [[nodiscard]] Admit wait_track(std::initializer_list<Event> events, Deadline deadline) {
    return wait_track(std::span(events), deadline);
  }
  template <TextLike Text>
  [[nodiscard]] Admit wait_track(const Text& text, Deadline deadline) {
    return wait_track(Event(std::string_view(text)), deadline);
  }

  // Like track(), but does not wait for the disk. A pending submission calls the receipt exactly once: before this
  // returns, on this thread, under Ack::queued unless the events go through the disk; otherwise later, on the
  // committer's thread, which waits meanwhile. A refused one never calls it; nor does one whose disk does not answer
  // until a stop leaves it behind. The receipt must not throw and must not call anything that waits: track() without a
  // receipt, wait_track(), shutdown().
  [[nodiscard]] Submission track(std::span<const Event> events, const Receipt& receipt);

  // Closes admission, waits until every accepted event is finished or the deadline has passed, and reports. Idempotent,
  // from any thread: the earliest deadline counts, and all callers get the same report. Returns at most 100 ms after
  // the deadline; a deadline in less than 100 ms (more if much is in memory: Host::least_drain()) is moved there. A
  // worker stuck in its sink is left behind with everything it refers to (see sink.h). Not from a sink or a receipt.
  Report shutdown(Deadline deadline);
  template <std::integral Rep, class Period>
  Report shutdown(std::chrono::duration<Rep, Period> at_most) {
    return shutdown(deadline_in(at_most));
  }

  // The counts of this instant, balanced. Async-signal-safe.
  [[nodiscard]] Books books() const noexcept;

  // A snapshot; only its books are exact. Allocates; meant to be called about once a second.
  [[nodiscard]] Status status() const;

  // The first half of every id that this tracker assigns.
  [[nodiscard]] const RunId& run() const noexcept;

 private:
  friend class Host;           // sluice/host.h
  friend class TrackerOnDisk;  // for tests
  struct Engine;
  Tracker(std::shared_ptr<Engine> engine, const SinkFactory& sinks);
  std::shared_ptr<Engine> engine_;  // owners: the tracker, and each worker's thread as long as it runs
};

}  // namespace sluice
