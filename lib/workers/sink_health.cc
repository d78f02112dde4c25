// See the header.
#include "workers/sink_health.h"

#include <algorithm>
#include <new>

#include "workers/backoff.h"

namespace sluice {

namespace {

// The longest interval: a sink that works again is noticed within it.
constexpr std::chrono::nanoseconds kMaxInterval = std::chrono::seconds{1};

}  // namespace

SinkHealth::SinkHealth(std::chrono::nanoseconds retry_min, std::chrono::nanoseconds retry_max) noexcept
    : min_interval_(retry_min), max_interval_(std::max(retry_min, std::min(retry_max, kMaxInterval))) {}

bool SinkHealth::failing() const {
  const std::lock_guard lock(mutex_);
  return troubled_.load() && certain_;
}

SinkHealth::Clock::time_point SinkHealth::after_interval(Clock::time_point now) {
  const auto interval = backoff::doubled(min_interval_, max_interval_, probes_ / 2);
  return backoff::after(now, backoff::jittered(interval / 2, interval, random_), deadline_);
}

SinkHealth::Turn SinkHealth::try_probe(Clock::time_point now, bool has_fresh, bool has_old) {
  const std::lock_guard lock(mutex_);
  if (!troubled_.load()) return {.probe = Probe::none, .until = now, .on_events = false};
  const auto begin = [&](Probe probe) {
    if (probe == Probe::fresh) {
      owes_fresh_ = false;
    } else if (turn_ == Probe::fresh) {
      owes_fresh_ = true;
    }
    next_ = next_owed_ = backoff::after(now, std::max(max_interval_, kMaxInterval), Clock::time_point::max());
    return Turn{.probe = probe, .until = now, .on_events = false};
  };
  const bool is_due = now >= next_;
  if (owes_fresh_ && has_fresh && now >= next_owed_) return begin(Probe::fresh);
  if (is_due && turn_ == Probe::fresh && has_fresh) return begin(Probe::fresh);
  if (is_due && has_old) return begin(Probe::old);
  if (is_due && has_fresh) return begin(Probe::fresh);
  if (is_due) return {.probe = Probe::none, .until = Clock::time_point::max(), .on_events = true};
  if (!owes_fresh_) return {.probe = Probe::none, .until = next_, .on_events = false};
  if (!has_fresh) return {.probe = Probe::none, .until = next_, .on_events = true};
  return {.probe = Probe::none, .until = std::min(next_, next_owed_), .on_events = false};
}

void SinkHealth::give_up_probe(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  next_ = now;
}

bool SinkHealth::worked() {
  if (!troubled()) return false;
  const std::lock_guard lock(mutex_);
  return troubled_.exchange(false);
}

bool SinkHealth::failed(Clock::time_point now, Probe probe, bool known, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  try {
    reason_ = reason;
  } catch (const std::bad_alloc&) {
    reason_.clear();
  }
  const bool begins = !troubled_.load();
  if (begins) {
    since_ = std::chrono::system_clock::now();
    certain_ = false;
    probes_ = 0;
    turn_ = Probe::fresh;
    owes_fresh_ = known;
    next_owed_ = now;
  } else if (probe == Probe::none) {  // a call that began before the trouble did adds nothing
    certain_ = certain_ || !known;
    return false;
  } else {
    ++probes_;
    turn_ = probe == Probe::fresh ? Probe::old : Probe::fresh;
    next_owed_ = backoff::after(now, min_interval_, deadline_);
  }
  certain_ = certain_ || !known;
  next_ = after_interval(now);
  troubled_.store(true);
  return true;
}

void SinkHealth::hurry(Clock::time_point now, Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  deadline_ = std::min(deadline_, deadline);
  const auto cut = backoff::after(now, std::chrono::nanoseconds::max(), deadline_);
  next_ = std::min(next_, cut);
  next_owed_ = std::min(next_owed_, cut);
}

SinkHealth::State SinkHealth::state() const {
  const std::lock_guard lock(mutex_);
  if (!troubled_.load() || !certain_) return {};
  return {.failing = true, .since = since_, .reason = reason_};
}

}  // namespace sluice
