// The stop of sluiced. The stop list stands here, once; README, ARCHITECTURE and the code quote it by number and words
// (tests/house.sh compares them):
//
//   1. Announce: readiness turns red and systemd learns how long the stop may take; --unready-delay passes while
//      requests are still served.
//   2. Close the intake: no new connections; requests in hand get a fifth of the time, new requests are answered 503.
//   3. Close the door: no event is admitted any more.
//   4. Drain: workers deliver the admitted events until none is left or the deadline passes.
//   5. Close the queue: the workers end and their sinks sync; past the deadline, unfinished batches are taken from
//   them.
//   6. Checkpoint the journal: delivered events are settled, all others are kept for the next start.
//   7. Count: the books are balanced; an event that no disk holds is lost.
//   8. Report: exit code, STATE/last-exit.json, and the last line on stderr.
//
// Steps 3 to 7 are Tracker::shutdown(). The main thread runs the list; it refuses nothing and is over by the deadline,
// or the backstop (host/stop_signals.h) ends the process.
#pragma once

#include "parts.h"

namespace sluiced {

struct Stopped {
  int code = 0;              // exit code
  bool left_behind = false;  // a thread is stuck: the process must exit without destroying the parts
};

// Call once, after the first stop signal.
[[nodiscard]] Stopped stop(Parts& parts);

}  // namespace sluiced
