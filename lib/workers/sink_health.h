// Whether the sink works, as the workers of a pool have found, and which worker may call it while it does not. Any
// worker thread; one mutex, taken only after a failed call or while the sink is in trouble.
//
// A call in which the sink takes nothing (no event delivered, refused or suspect) makes it *failing*: the workers leave
// the events in the queue, and one worker at a time probes the sink with a batch. The interval between probes starts at
// retry_min and doubles after every second probe, up to the smaller of retry_max and a second, but never below
// retry_min; its second half is jitter. Probes alternate between fresh events and events that failed before, so that a
// poisoned batch is not mistaken for a dead sink, nor a dead sink for a poisoned batch. The first call with another
// result ends the state, and all workers go on.
//
// If only events fail that failed before while others were delivered, the sink is merely *doubted*: a fresh batch is
// tried at once if there is one. A poisoned event thus delays the others by no more than its own call.
//
// Limit: for a sink that cannot tell a bad event from its own failure (a handler that throws), bad batches in a row
// with nothing delivered in between are probed one at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <string_view>

namespace sluice {

class SinkHealth {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Probe : std::uint8_t { none, fresh, old };

  SinkHealth(std::chrono::nanoseconds retry_min, std::chrono::nanoseconds retry_max) noexcept;

  // Failing or doubted. Relaxed: a worker that reads a stale value calls the sink once more, as it might have before.
  [[nodiscard]] bool troubled() const noexcept { return troubled_.load(std::memory_order_relaxed); }
  // Failing: an event failed that was not known to fail.
  [[nodiscard]] bool failing() const;

  // Whether the caller may call a troubled sink now, and with which of the events that there are. `none`: not before
  // `until` (max(): not before something changes), or if `on_events`, once there are fresh events. A probe excludes
  // others until it has ended, or for the longest interval.
  struct Turn {
    Probe probe = Probe::none;
    Clock::time_point until = Clock::time_point::max();
    bool on_events = false;
  };
  [[nodiscard]] Turn try_probe(Clock::time_point now, bool has_fresh, bool has_old);
  // The probe found no events to call the sink with.
  void give_up_probe(Clock::time_point now);

  // The result of a call. True: workers that wait must look again.
  [[nodiscard]] bool worked();
  // `known`: these events failed before while others were delivered.
  [[nodiscard]] bool failed(Clock::time_point now, Probe probe, bool known, std::string_view reason);

  // A stop has begun, or its deadline moved forward: shortens waits to a tenth of the time left.
  void hurry(Clock::time_point now, Clock::time_point deadline);

  struct State {
    bool failing = false;
    std::chrono::system_clock::time_point since{};  // valid if failing
    std::string reason;                             // of the last failure, valid if failing
  };
  [[nodiscard]] State state() const;

 private:
  [[nodiscard]] Clock::time_point after_interval(Clock::time_point now);

  const std::chrono::nanoseconds min_interval_, max_interval_;
  std::atomic<bool> troubled_{false};  // written under mutex_

  mutable std::mutex mutex_;  // guards all below
  bool certain_ = false;      // failing, not only doubted; valid while troubled_
  std::chrono::system_clock::time_point since_{};
  std::string reason_;
  std::uint32_t probes_ = 0;       // failed ones since the trouble began
  Probe turn_ = Probe::fresh;      // the kind of the next probe
  bool owes_fresh_ = false;        // a probe with fresh events was due, but there were none
  Clock::time_point next_{};       // no probe before this, except the owed one
  Clock::time_point next_owed_{};  // when the owed one is due
  Clock::time_point deadline_ = Clock::time_point::max();
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace sluice
