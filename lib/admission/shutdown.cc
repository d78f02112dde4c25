// One mutex guards all of it; the phase is an atomic besides, for readers that must not wait.
#include "admission/shutdown.h"

#include <algorithm>
#include <utility>

#include "sluice/deadline.h"

namespace sluice {

void ShutdownCoordinator::advance(Signal signal) {
  const std::lock_guard lock(mutex_);
  phase_.store(next_phase(phase_.load(), signal));
}

bool ShutdownCoordinator::begin(Clock::time_point deadline, Clock::time_point least) {
  advance(Signal::stop);
  const std::lock_guard lock(mutex_);
  if (begun_) {
    deadline_ = std::min(deadline_, deadline);
    return false;
  }
  begun_ = true;
  if (deadline < deadline_) hastened_ = false;  // the remembered deadline is later than the requested one
  deadline_ = std::max(std::min(deadline_, deadline), least);
  began_ = Clock::now();
  return true;
}

bool ShutdownCoordinator::hasten(Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  if (deadline < deadline_) {
    deadline_ = deadline;
    hastened_ = true;
  }
  return begun_;
}

bool ShutdownCoordinator::hastened() const {
  const std::lock_guard lock(mutex_);
  return hastened_;
}

ShutdownCoordinator::Clock::time_point ShutdownCoordinator::deadline() const {
  const std::lock_guard lock(mutex_);
  return deadline_;
}

std::chrono::nanoseconds ShutdownCoordinator::elapsed() const {
  const std::lock_guard lock(mutex_);
  return begun_ ? Clock::now() - began_ : std::chrono::nanoseconds{0};
}

void ShutdownCoordinator::finish(Report report) {
  const std::lock_guard lock(mutex_);
  report_ = std::move(report);
  reported_.notify_all();
}

Report ShutdownCoordinator::wait_report() {
  std::unique_lock lock(mutex_);
  reported_.wait(lock, [this] { return report_.has_value(); });
  return *report_;
}

}  // namespace sluice
