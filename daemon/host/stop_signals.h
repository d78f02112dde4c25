// Signals and the backstop. SIGTERM, SIGINT and SIGQUIT set the deadline, arm a kernel timer a little behind it and
// wake the main loop, all within their handler; the timer's own handler writes the report and ends the process. So the
// hard deadline depends on no thread of ours still working. Other signals whose default would end the process undrained
// are caught, and named once each. Made once, by main, before any other thread; blocked in no thread. What it cannot
// do: end a thread that the kernel will not release from a dead disk.
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

  // From here all signals that would end the process have handlers, but for those of faults in the program (SIGSEGV,
  // SIGABRT …) and SIGKILL. None is ignored: a child would inherit that. The first signal sets the deadline this far
  // away, but never nearer than what the tracker needs at least. Throws std::system_error.
  explicit StopSignals(std::chrono::nanoseconds drain_timeout);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // From here the handlers read the books of this tracker, until it is taken back with nullptr.
  void watch(sluice::Tracker* tracker) noexcept;

  // From here the backstop owes a report, on stderr and in this file (nothing: nowhere else).
  void owe_report(const std::optional<std::filesystem::path>& last_exit);

  // Waits until something new happens, or for at most this long. The counts are those since the start.
  struct Heard {
    std::size_t stops = 0;    // SIGTERM, SIGINT and SIGQUIT together; 2: two or more
    std::size_t reopens = 0;  // SIGHUP
  };
  [[nodiscard]] Heard wait(std::chrono::nanoseconds at_most) noexcept;
  // Ends a wait, from any thread.
  void wake() noexcept;
  // Signals that came and mean nothing here ("SIGUSR1"), each told once in the life of the process. One thread at a
  // time.
  [[nodiscard]] std::vector<std::string> take_strays();

  // Of the stop that was asked for: when, and until when (which a second signal moves forward).
  [[nodiscard]] Clock::time_point first_signal() const noexcept;
  [[nodiscard]] Clock::time_point deadline() const noexcept;

 private:
  int wake_fd_;
};

// The right to write the report is given once: to the main loop, or to the backstop. True: it is the caller's.
[[nodiscard]] bool claim_report() noexcept;

// The exit code that the backstop is to use if it has to end what is left after the report.
void decide_exit(int code) noexcept;

}  // namespace sluiced::host
