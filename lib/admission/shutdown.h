// The shutdown coordinator: owns the phase, the deadline and the one report of a tracker. It knows when and how far;
// its owner runs the steps (tracker/draining.cc). Any thread may request a stop; the first one runs the steps, the
// others wait for its report. It refuses to go back: phases only go forward, deadlines only come nearer.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "admission/phase.h"
#include "sluice/report.h"

namespace sluice {

class ShutdownCoordinator {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] Phase phase() const noexcept { return phase_.load(); }

  // The one place where the phase changes.
  void advance(Signal signal);

  // Requests a stop. The first caller gets true: it runs the steps and then calls finish(). For all callers the
  // deadline is now at most this one. Only the first caller's `least` counts: a remembered deadline that is nearer
  // moves there.
  [[nodiscard]] bool begin(Clock::time_point deadline, Clock::time_point least = Clock::time_point::min());

  // Moves the deadline nearer; the report then names a hurried stop. False: no stop has begun, and the deadline is
  // remembered for it.
  bool hasten(Clock::time_point deadline);
  [[nodiscard]] bool hastened() const;

  [[nodiscard]] Clock::time_point deadline() const;        // time_point::max() before any request
  [[nodiscard]] std::chrono::nanoseconds elapsed() const;  // since begin(); 0 before it

  void finish(Report report);
  [[nodiscard]] Report wait_report();

 private:
  std::atomic<Phase> phase_{Phase::starting};  // written under mutex_

  mutable std::mutex mutex_;
  std::condition_variable reported_;
  Clock::time_point began_{};                              // guarded by mutex_
  Clock::time_point deadline_ = Clock::time_point::max();  // guarded by mutex_; after begin() it only comes nearer
  bool begun_ = false;                                     // guarded by mutex_; never returns to false
  bool hastened_ = false;                                  // guarded by mutex_
  std::optional<Report> report_;                           // guarded by mutex_; set once
};

}  // namespace sluice
