// Whether the sink works, as all workers of a pool have seen it, and who may try it while it does not. Any worker; one
// mutex, taken only when a call has failed or the sink is not known to work.
//
// A call in which the sink takes nothing (no event delivered, refused or suspected) makes it *failing*: the workers
// leave the events where they are, and one at a time probes it with a batch. The interval between probes begins with
// retry_min and is doubled after every second one, up to retry_max or a second, whichever is less (but never less than
// retry_min); of each, the first half is certain and the second is jitter. Probes take fresh events and events that
// have failed before in turn: a poisoned batch cannot pass for a dead sink, nor hide behind one. The first call that is
// answered otherwise ends it, and all go on.
//
// If all that fails has failed before while others were delivered, the sink is only *doubted*: a fresh batch, if there
// is one, is tried at once. So a poisoned event costs the others no more than the time of its own call.
//
// Its limit: a sink that cannot tell a bad event from its own trouble (a handler that throws) is probed past bad
// batches that nothing good was delivered between one at a time.
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

  // Failing or doubted. Relaxed: a worker that sees it late calls the sink once more, as it might have just before.
  [[nodiscard]] bool troubled() const noexcept { return troubled_.load(std::memory_order_relaxed); }
  // Failing for certain: something has failed that was not known to fail.
  [[nodiscard]] bool failing() const;

  // Who may call a troubled sink now, given which events there are. `none`: not before `until` (max(): not before
  // something changes), and if `on_events`, earlier once there are fresh ones. A probe under way keeps others from it
  // until it has ended, or for the longest interval.
  struct Turn {
    Probe probe = Probe::none;
    Clock::time_point until = Clock::time_point::max();
    bool on_events = false;
  };
  [[nodiscard]] Turn try_probe(Clock::time_point now, bool has_fresh, bool has_old);
  // The probe found nothing to call the sink with.
  void give_up_probe(Clock::time_point now);

  // What a call has shown. True: something has changed for those who wait.
  [[nodiscard]] bool worked();
  // `known`: the events had failed before while others were delivered.
  [[nodiscard]] bool failed(Clock::time_point now, Probe probe, bool known, std::string_view reason);

  // A stop has begun, or its deadline came nearer: waits are cut to a tenth of the time left.
  void hurry(Clock::time_point now, Clock::time_point deadline);

  struct State {
    bool failing = false;
    std::chrono::system_clock::time_point since{};  // if it is failing
    std::string reason;                             // of the last failure, if it is failing
  };
  [[nodiscard]] State state() const;

 private:
  [[nodiscard]] Clock::time_point after_interval(Clock::time_point now);

  const std::chrono::nanoseconds least_, most_;
  std::atomic<bool> troubled_{false};  // written under mutex_

  mutable std::mutex mutex_;  // guards all below
  bool certain_ = false;      // only while troubled_
  std::chrono::system_clock::time_point since_{};
  std::string reason_;
  std::uint32_t probes_ = 0;       // that have failed, in this trouble
  Probe turn_ = Probe::fresh;      // of the next probe
  bool owes_fresh_ = false;        // a probe of fresh events was due, and there were none
  Clock::time_point next_{};       // no probe before
  Clock::time_point next_owed_{};  // but for the one that is owed
  Clock::time_point deadline_ = Clock::time_point::max();
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace sluice
