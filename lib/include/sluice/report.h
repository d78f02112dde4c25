// The account: what a tracker has done so far (Books, Status) and what it says at its end (Report).
// The promise about them: accepted = delivered + dead + kept + lost, in every copy that anyone ever sees. Plain values,
// copied out: any thread. All counts are of events.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/api.h"
#include "sluice/phase.h"

namespace sluice {

struct Books {
  std::uint64_t accepted = 0;   // taken by this run, plus `replayed`
  std::uint64_t delivered = 0;  // a sink holds it
  std::uint64_t dead = 0;       // refused for good; kept aside, if there is a state directory
  std::uint64_t kept = 0;       // accepted and not finished yet; after the end: on disk for the next start
  std::uint64_t lost = 0;  // accepted and gone: no disk stands behind the queue, or it failed. Logged when it happens
  std::uint64_t replayed = 0;  // taken over from the run before

  [[nodiscard]] bool balanced() const noexcept { return accepted == delivered + dead + kept + lost; }
};

// Why a stop ended, where it did.
enum class Reason : std::uint8_t {
  drained,   // all that was in memory is finished
  deadline,  // it passed first
  signal,    // somebody hurried it: hasten(), in sluiced a second signal
  fault,     // the disk has failed, or does not answer
  sink,      // what is left is what the sink does not take; it did not wait for the deadline
  backstop,  // in sluiced only: a timer of the kernel had to end it
};
[[nodiscard]] SLUICE_API std::string_view to_string(Reason reason) noexcept;

enum class WorkerState : std::uint8_t {
  idle,
  taking,    // from the queue
  in_sink,   // the batch is with its sink
  burying,   // what the sink refused is being written to the dead letters
  answered,  // the verdicts are being booked
  kept,      // past the deadline: the batch was taken from it, whatever its sink still says
};
[[nodiscard]] SLUICE_API std::string_view to_string(WorkerState state) noexcept;

// One worker, as seen from outside at one instant.
struct WorkerStatus {
  std::size_t worker = 0;  // from 0
  std::string sink;
  WorkerState state = WorkerState::idle;
  std::size_t events = 0;               // in its batch
  std::uint64_t first_sequence = 0;     // of that batch
  std::uint32_t attempt = 0;            // 1 for the first
  std::chrono::nanoseconds in_state{};  // for how long
  std::uint64_t delivered = 0;          // by this worker, so far
  std::chrono::nanoseconds busy{};      // in its sink, all batches together, that at hand included
};

struct Status {
  Phase phase = Phase::starting;
  Books books;
  std::size_t queue_events = 0;                                               // admitted and not finished
  std::size_t queue_bytes = 0;                                                // charged for them, overhead included
  std::size_t in_flight = 0;                                                  // of those, in workers' hands
  std::size_t retrying = 0;                                                   // of those, waiting for another attempt
  std::uint64_t refused_full = 0, refused_too_large = 0, refused_closed = 0;  // events not taken, by answer
  std::uint64_t journal_bytes = 0;                                            // on disk, and reserved there
  std::uint64_t journal_unreadable = 0;  // bytes of it that the disk would not read, so far
  bool disk_failed = false;              // new events are refused until it works again
  std::string disk_cause;                // why
  bool sink_failing = false;             // it takes nothing at the moment; it is tried now and then
  std::chrono::system_clock::time_point sink_failing_since{};  // if so
  std::string sink_cause;                                      // why
  std::vector<WorkerStatus> workers;
};

struct Report {
  Reason reason = Reason::drained;
  Books books;
  std::chrono::nanoseconds elapsed{};    // since the first shutdown()
  std::vector<WorkerStatus> held_up_by;  // workers that had to be left behind
  bool disk_failed = false;              // what is kept is on a disk that failed, or what is delivered comes again
  bool disk_stuck = false;               // a thread was left behind in a disk that does not answer

  [[nodiscard]] bool drained() const noexcept { return reason == Reason::drained; }
  // Whatever kept it from ending drained.
  [[nodiscard]] bool timed_out() const noexcept { return reason != Reason::drained; }
};

// What became of a wish to requeue or drop some: Tracker::requeue_dead_letters, Tracker::drop_dead_letters.
struct DeadLettersMoved {
  std::size_t moved = 0, left = 0;  // left: of those that were there when it began
  std::string error;                // why not more: one line. Empty if nothing is wrong
  std::size_t damaged = 0;          // lines that were no dead letters: they are in STATE/dead-letter.damaged now
  std::size_t first_damaged = 0;    // the number of the first of them in the file as it was, from 1
};

// `stopped reason=drained accepted=N delivered=N dead=N kept=N lost=N replayed=N elapsed=1.203s`, without a line end.
[[nodiscard]] SLUICE_API std::string to_string(const Report& report);

// The same into `to`, at most `room` bytes (256 are always enough; what does not fit is left out), without a zero at
// the end; returns the length. Does not allocate: it may be called in a signal handler.
SLUICE_API std::size_t write_report(char* to, std::size_t room, Reason reason, const Books& books,
                                    std::chrono::nanoseconds elapsed) noexcept;

// The same as one JSON object (keys as in the line, numbers as numbers, elapsed in seconds); likewise signal safe.
SLUICE_API std::size_t write_report_json(char* to, std::size_t room, Reason reason, const Books& books,
                                         std::chrono::nanoseconds elapsed) noexcept;

}  // namespace sluice
