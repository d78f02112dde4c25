// The coordinator: one mutex, one condition, one phase.
#include "admission/shutdown.h"

#include <algorithm>
#include <utility>

#include "sluice/deadline.h"

namespace sluice {

Response ShutdownCoordinator::on(Happening what) {
  const std::lock_guard lock(mutex_);
  const Step now = step(phase_.load(), what);
  phase_.store(now.next);
  changed_.notify_all();
  return now.response;
}

bool ShutdownCoordinator::begin(Clock::time_point deadline, Clock::time_point least) {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
  if (asked_) {
    deadline_ = std::min(deadline_, deadline);
    return false;
  }
  asked_ = true;
  if (deadline < deadline_) hastened_ = false;  // what was remembered is later than what is asked for
  deadline_ = std::max(std::min(deadline_, deadline), least);
  began_ = Clock::now();
  return true;
}

bool ShutdownCoordinator::hasten(Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  if (deadline < deadline_) {
    deadline_ = deadline;
    hastened_ = true;
    changed_.notify_all();
  }
  return asked_;
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
  return asked_ ? Clock::now() - began_ : std::chrono::nanoseconds{0};
}

void ShutdownCoordinator::finish(Report report) {
  const std::lock_guard lock(mutex_);
  report_ = std::move(report);
  changed_.notify_all();
}

Report ShutdownCoordinator::wait_report() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return report_.has_value(); });
  return *report_;
}

}  // namespace sluice
