// A process that does nothing but wait as long as the daemon may: how late it is, is what this machine adds by itself
// at that moment. A round of a deadline's test in which it is as late as the daemon is run again.
#pragma once

#include <sys/types.h>

#include <chrono>

#include "support/daemon.h"
#include "support/process.h"

namespace test {

class Control {
 public:
  // Waits for start(), then for that long, on another process's time slices.
  explicit Control(milliseconds wait);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  void start() const;
  // By how much more than its time it ended after start(). Waits for its end.
  [[nodiscard]] milliseconds lateness();

 private:
  struct Shared;

  Shared* shared_;  // with the child
  pid_t pid_ = -1;
};

// Runs `round` (a fresh one each time: it returns how late the daemon was and how late the control) until the daemon is
// no later than `allowed`, or was later although the control was not, or five times; returns the daemon's lateness.
struct Lateness {
  milliseconds daemon, control;
};
template <class Round>
milliseconds lateness_of(const Round& round, milliseconds allowed) {
  constexpr int kMostRounds = 5;
  Lateness found{};
  for (int i = 0; i < kMostRounds; ++i) {
    found = round();
    if (found.daemon <= allowed || found.control < allowed / 2) break;
  }
  return found.daemon;
}

// The stop of a daemon whose time is up at `deadline` after the signal: how late it was gone, and how it ended.
struct Stopped {
  Lateness late;
  Ended ended;
};
[[nodiscard]] Stopped stop_with_deadline(Daemon& daemon, milliseconds deadline);

}  // namespace test
