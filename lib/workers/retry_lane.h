// The retry lane: batches that wait for their next attempt. No worker owns them, so none waits for them. Their tickets
// stay out, so the door counts them as queued. Used by any worker and by the stopping thread; one mutex, which a worker
// takes only if the lane is not empty. It knows when a batch is due and nothing about the sink; see SinkHealth.
//
// A batch that failed stays one batch, so that its events do not make later ones fail. But a batch that failed as a
// whole while other events were delivered is split into halves, and those again: with a sink that takes or fails whole
// batches, a bad event is alone after a few attempts, and its neighbours are delivered. A batch is also split if there
// are hardly any other deliveries that could show whether the sink works.
//
// Memory: 64 bytes a batch and 16 a run of neighbouring events, for admitted events only; at worst, with each event a
// batch of its own, 64 bytes an event.
//
// In a stop the waits are shortened (see hurry()), and events that the sink does not take are put aside by keep(): the
// lane holds them until it is destroyed, so that they can be written to the journal. Past the deadline everything left
// in the lane is kept likewise.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "queue/block.h"
#include "workers/batch.h"

namespace sluice {

class RetryLane {
 public:
  using Clock = std::chrono::steady_clock;

  RetryLane() = default;
  ~RetryLane();  // releases everything in it
  RetryLane(const RetryLane&) = delete;
  RetryLane& operator=(const RetryLane&) = delete;

  // Adds a batch, due after `wait` or, in a stop, sooner; as two batches if `in_halves`. Throws std::bad_alloc, and
  // then takes nothing.
  void put(std::span<const Slice> runs, const History& history, std::chrono::nanoseconds wait, bool in_halves = false);

  // Moves the batch that is due first, if it is due by `by`, into `to`, which is empty. Throws std::bad_alloc, and then
  // moves nothing.
  [[nodiscard]] bool try_take(Clock::time_point by, Batch& to);

  // When the first batch is due; max() if there is none.
  [[nodiscard]] Clock::time_point next_due() const noexcept {
    return Clock::time_point(Clock::duration(next_due_.load()));
  }
  // The number of events and of batches in it, at some recent instant.
  [[nodiscard]] std::size_t events() const noexcept { return events_.load(); }
  [[nodiscard]] std::size_t batches() const noexcept { return batches_.load(); }

  // A stop has begun, or its deadline moved forward: shortens each wait to a tenth of the time left, and to nothing for
  // events that fail while the sink works: suspects, and events since whose failure others were delivered. `delivered`
  // is the pool's count now.
  void hurry(Clock::time_point now, Clock::time_point deadline, std::uint64_t delivered);

  // Puts the events aside for good. Their tickets may go back.
  void keep(std::vector<Slice>& runs) noexcept;

 private:
  struct Entry {
    Clock::time_point due;
    History history;
    std::uint32_t events = 0;
    std::uint32_t count = 0;        // of runs
    std::unique_ptr<Slice[]> more;  // the runs, if there are several
    Slice one{};                    // the run, if there is one

    [[nodiscard]] std::span<const Slice> runs() const noexcept {
      return more ? std::span<const Slice>(more.get(), count) : std::span<const Slice>(&one, count);
    }
  };
  [[nodiscard]] static Entry entry_of(std::span<const Slice> runs, const History& history);
  void insert(Entry entry) noexcept;
  void publish_first() noexcept;

  std::mutex mutex_;
  std::vector<Entry> entries_;                             // guarded by mutex_; a heap, the first due in front
  std::vector<Slice> kept_;                                // guarded by mutex_
  Clock::time_point deadline_ = Clock::time_point::max();  // guarded by mutex_
  std::atomic<Clock::rep> next_due_{Clock::time_point::max().time_since_epoch().count()};  // written under mutex_
  std::atomic<std::size_t> batches_{0};                                                    // written under mutex_
  std::atomic<std::size_t> events_{0};                                                     // written under mutex_
};

}  // namespace sluice
