// Signals and the backstop. The handler of SIGTERM, SIGINT and SIGQUIT sets the deadline, arms a kernel timer shortly
// after it, and wakes the main loop; the timer's handler (the backstop) writes the report and ends the process. So the
// hard deadline does not depend on any thread. Other signals whose default would end the process undrained are caught
// and logged once each. Constructed once, by main, before any other thread; no thread blocks these signals. It cannot
// end a thread that the kernel does not release from a dead disk.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sluice {
class Tracker;
}

namespace sluiced::host {

class StopSignals {
 public:
  using Clock = std::chrono::steady_clock;

  // Installs handlers for all signals that would end the process, except SIGKILL and program faults (SIGSEGV, SIGABRT
  // …). None is ignored: a child would inherit that. The first stop signal sets the deadline `drain_timeout` away, but
  // never nearer than the tracker's least_drain(). Throws std::system_error.
  explicit StopSignals(std::chrono::nanoseconds drain_timeout);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The handlers read this tracker's books until the next call; nullptr: no tracker's.
  void watch(const sluice::Tracker* tracker) noexcept;

  // From here the backstop writes a report, on stderr and to this file, if any.
  void owe_report(const std::optional<std::filesystem::path>& last_exit);

  // Waits for a signal or a wake(), at most this long. Counts are since the start.
  struct Heard {
    std::size_t stops = 0;    // SIGTERM, SIGINT and SIGQUIT together; 2: two or more
    std::size_t reopens = 0;  // SIGHUP
  };
  [[nodiscard]] Heard wait(std::chrono::nanoseconds at_most) noexcept;
  // Ends a wait(). Any thread.
  void wake() noexcept;
  // Names of received signals that have no meaning here ("SIGUSR1"), each returned once in the life of the process. One
  // thread at a time.
  [[nodiscard]] std::vector<std::string> take_strays();

  // Of the requested stop: its first signal and its deadline, which a second signal moves nearer.
  [[nodiscard]] Clock::time_point first_signal() const noexcept;
  [[nodiscard]] Clock::time_point deadline() const noexcept;

 private:
  int wake_fd_;
};

// True for the first caller only, the main loop or the backstop: it writes the report.
[[nodiscard]] bool claim_report() noexcept;

// The exit code for a backstop that fires after the report.
void decide_exit(int code) noexcept;

}  // namespace sluiced::host
