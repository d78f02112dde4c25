// What one worker shows to others: its status line and its metrics. Written by its worker, read by any thread. Each
// number stands for itself, and none decides anything.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "sluice/metrics.h"
#include "sluice/report.h"
#include "workers/batch.h"
#include "workers/pool_log.h"
#include "workers/tally.h"

namespace sluice {

class WorkerStats {
 public:
  using Clock = std::chrono::steady_clock;

  explicit WorkerStats(std::size_t index) : index_(index) {}

  // The worker's side. name_sink() comes once, before any other thread may read.
  void name_sink(std::string name) { sink_ = std::move(name); }
  void batch_begins(const Batch& batch) noexcept {
    events_.store(batch.size());
    first_sequence_.store(batch.deliveries().front().id.sequence);
    attempt_.store(batch.history().attempt);
    state_begins(Clock::now());
  }
  void batch_ends(std::size_t delivered, std::size_t left) noexcept {
    delivered_.fetch_add(delivered);
    events_.store(left);
    state_begins(Clock::now());
  }
  void batch_is_gone() noexcept { events_.store(0); }
  void state_begins(Clock::time_point now) noexcept { since_.store(now.time_since_epoch().count()); }
  // Around each deliver(), and around each sync(), which is busy time only.
  void deliver_begins(std::size_t events, Clock::time_point now) noexcept {
    busy_.begin(now);
    batch_events_.add(events);
  }
  void deliver_ends(Clock::time_point began, Clock::time_point now) noexcept {
    busy_.end(now);
    sink_time_.add(now - began);
  }
  void sync_begins(Clock::time_point now) noexcept { busy_.begin(now); }
  void sync_ends(Clock::time_point now) noexcept { busy_.end(now); }

  // Any thread.
  [[nodiscard]] std::size_t index() const noexcept { return index_; }
  [[nodiscard]] WorkerName name() const noexcept { return {index_, sink_}; }
  [[nodiscard]] WorkerStatus status(WorkerState state) const {
    return {.worker = index_,
            .sink = sink_,
            .state = state,
            .events = events_.load(),
            .first_sequence = first_sequence_.load(),
            .attempt = attempt_.load(),
            .in_state = Clock::now() - Clock::time_point(Clock::duration(since_.load())),
            .delivered = delivered_.load(),
            .busy = busy_.so_far()};
  }
  void show(WorkerState state, Metrics& to) const {
    if (state == WorkerState::in_sink) to.in_flight += events_.load();
    to.worker_busy.push_back(busy_.so_far());
    batch_events_.show(to.batch_events);
    sink_time_.show(to.sink_seconds);
  }

 private:
  const std::size_t index_;
  std::string sink_;
  std::atomic<std::size_t> events_{0};
  std::atomic<std::uint64_t> first_sequence_{0};
  std::atomic<std::uint32_t> attempt_{0};
  std::atomic<Clock::rep> since_{Clock::now().time_since_epoch().count()};
  std::atomic<std::uint64_t> delivered_{0};
  BusyTime busy_;
  alignas(64) Tally batch_events_{kEventBuckets};
  Tally sink_time_{kTimeBuckets};
};

}  // namespace sluice
