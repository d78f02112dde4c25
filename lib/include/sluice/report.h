// The counts of events: so far (Books, Status) and at the end (Report). In every copy that is handed out holds
// accepted = delivered + dead + kept + lost. Plain values: any thread. A TaskPool reports in the same terms; what it
// counts are tasks.
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
  std::uint64_t delivered = 0;  // the sink holds it
  std::uint64_t dead = 0;       // refused for good; kept as a dead letter if there is a state directory
  std::uint64_t kept = 0;       // accepted and not finished yet; after the end: on disk for the next start
  std::uint64_t lost = 0;       // accepted and gone: no disk holds it, or the disk failed. Logged when it happens
  std::uint64_t replayed = 0;   // taken over from the run before

  [[nodiscard]] bool balanced() const noexcept { return accepted == delivered + dead + kept + lost; }
};

// Why a shutdown ended.
enum class Reason : std::uint8_t {
  drained,   // every event in memory is finished
  deadline,  // the deadline came first
  signal,    // the deadline was moved forward, and came first: sluice/host.h, in sluiced a second signal
  fault,     // drained, but the disk has failed or does not answer
  sink,      // the sink does not take the rest; the shutdown did not wait for the deadline
  backstop,  // sluiced only: a kernel timer had to end the process
};
[[nodiscard]] SLUICE_API std::string_view to_string(Reason reason) noexcept;

enum class WorkerState : std::uint8_t {
  idle,
  taking,    // from the queue
  in_sink,   // its sink has the batch; of a TaskPool: in a task
  burying,   // refused events are being written to the dead letters
  answered,  // the verdicts are being counted
  kept,      // past the deadline: the batch was taken away from it; later verdicts of its sink do not count
};
[[nodiscard]] SLUICE_API std::string_view to_string(WorkerState state) noexcept;

// One worker, as seen from outside at one instant.
struct WorkerStatus {
  std::size_t worker = 0;  // from 0
  std::string sink{};      // its name
  WorkerState state = WorkerState::idle;
  std::size_t events = 0;               // in its batch
  std::uint64_t first_sequence = 0;     // of that batch
  std::uint32_t attempt = 0;            // 1 for the first
  std::chrono::nanoseconds in_state{};  // for how long
  std::uint64_t delivered = 0;          // by this worker, so far
  std::chrono::nanoseconds busy{};      // in its sink, all batches together, the current one included
};

struct Status {
  Phase phase = Phase::starting;
  Books books{};
  std::size_t queue_events = 0;                                               // admitted and not finished
  std::size_t queue_bytes = 0;                                                // charged for them, overhead included
  std::size_t in_flight = 0;                                                  // of those, held by workers
  std::size_t retrying = 0;                                                   // of those, waiting for another attempt
  std::uint64_t refused_full = 0, refused_too_large = 0, refused_closed = 0;  // events not taken, by answer
  std::uint64_t journal_bytes = 0;                                            // on disk, and reserved there
  std::uint64_t journal_unreadable = 0;  // bytes of it that the disk failed to read, so far
  bool disk_failed = false;              // new events are refused until it works again
  std::string disk_cause{};              // why
  bool sink_failing = false;             // the sink takes nothing at the moment; it is tried at least once a second
  std::chrono::system_clock::time_point sink_failing_since{};  // if so
  std::string sink_cause{};                                    // why
  std::vector<WorkerStatus> workers{};
};

struct Report {
  Reason reason = Reason::drained;
  Books books{};
  std::chrono::nanoseconds elapsed{};      // since the first shutdown()
  std::vector<WorkerStatus> held_up_by{};  // workers that were left behind
  bool disk_failed = false;                // kept events are on a disk that failed, or delivered ones are repeated
  bool disk_stuck = false;                 // a thread was left behind in a disk that does not answer

  // Every event in memory is finished, and the disk works. (A backlog on disk may be `kept` for the next start.)
  [[nodiscard]] bool drained() const noexcept { return reason == Reason::drained; }
  // A deadline passed before everything was finished: `deadline`, `signal` or `backstop`. False for `drained`, and for
  // the two that end before the deadline: a `fault` of the disk, and a `sink` that does not take the rest.
  [[nodiscard]] bool timed_out() const noexcept {
    return reason == Reason::deadline || reason == Reason::signal || reason == Reason::backstop;
  }
};

// `stopped reason=drained accepted=N delivered=N dead=N kept=N lost=N replayed=N elapsed=1.203s`, without a line end.
[[nodiscard]] SLUICE_API std::string to_string(const Report& report);

}  // namespace sluice
