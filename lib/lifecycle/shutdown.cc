// The coordinator: one mutex, one condition, one phase.
#include "lifecycle/shutdown.h"

#include <algorithm>
#include <utility>

namespace sluice {

Response ShutdownCoordinator::on(Happening what) {
  const std::lock_guard lock(mutex_);
  const Step now = step(phase_.load(), what);
  phase_.store(now.next);
  changed_.notify_all();
  return now.response;
}

bool ShutdownCoordinator::begin(Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  deadline_ = std::min(deadline_, deadline);
  changed_.notify_all();
  if (std::exchange(asked_, true)) return false;
  began_ = Clock::now();
  return true;
}

void ShutdownCoordinator::hasten(Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  if (deadline >= deadline_) return;
  deadline_ = deadline;
  hastened_ = true;
  changed_.notify_all();
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

void ShutdownCoordinator::wait_backoff(std::chrono::nanoseconds backoff) {
  std::unique_lock lock(mutex_);
  auto until = Clock::now() + backoff;
  for (;;) {
    const Phase now_in = phase_.load();
    if (now_in == Phase::expired || now_in == Phase::stopped) return;
    const auto now = Clock::now();
    if (asked_) until = std::min(until, now + std::max(Clock::duration::zero(), deadline_ - now) / 10);
    if (now >= until) return;
    changed_.wait_until(lock, until);
    // Past its end: one more look at `until` as it was, or a stop's tenths would add up to the whole of the time.
    if (Clock::now() >= until) return;
  }
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
