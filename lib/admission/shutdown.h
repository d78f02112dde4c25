// The shutdown coordinator: the phase, the deadline and the one report. It knows when and how far; what is done at each
// step is its owner's list (tracker/draining.cc). Any thread may ask for a stop; the first runs the list, the others
// wait for its report. It refuses to go back: phases only go forward, deadlines only come nearer.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "sluice/phase.h"
#include "sluice/report.h"

namespace sluice {

class ShutdownCoordinator {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] Phase phase() const noexcept { return phase_.load(); }

  // Something happened: the phase changes here and nowhere else. What to do about it is the answer.
  Response on(Happening what);

  // The first caller gets true and has to run the list, up to finish(). For all, the deadline is now at most this one.
  // Only the first caller's `least` counts: a remembered deadline that is nearer is moved there.
  [[nodiscard]] bool begin(Clock::time_point deadline, Clock::time_point least = Clock::time_point::min());

  // The deadline comes nearer, and the stop is in a hurry (its report says so). False: there is no stop yet, and the
  // deadline is remembered for it.
  bool hasten(Clock::time_point deadline);
  [[nodiscard]] bool hastened() const;

  [[nodiscard]] Clock::time_point deadline() const;        // time_point::max() if nobody has asked yet
  [[nodiscard]] std::chrono::nanoseconds elapsed() const;  // since begin(); 0 before it

  void finish(Report report);
  [[nodiscard]] Report wait_report();

 private:
  std::atomic<Phase> phase_{Phase::starting};  // written under mutex_

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Clock::time_point began_{};                              // guarded by mutex_
  Clock::time_point deadline_ = Clock::time_point::max();  // guarded by mutex_; once asked_, only comes nearer
  bool asked_ = false;                                     // guarded by mutex_; begin() was called
  bool hastened_ = false;                                  // guarded by mutex_
  std::optional<Report> report_;                           // guarded by mutex_; set once
};

}  // namespace sluice
