// The retry lane: batches that wait for their next attempt, owned by no worker, so that none is held up by them. They
// are still in the queue by the door's count: their tickets stay out. Any worker and the thread that stops; one mutex,
// which a worker takes only if something is in the lane. The lane says when, and delivers nothing; whether the sink
// works is SinkHealth's to know.
//
// What failed together stays together: one event must not make others fail that are behind it in the queue. But a batch
// that has failed as a whole while others were delivered comes back in two halves, and so on: for a sink that takes or
// fails whole batches, one bad event is alone after a few attempts, and its neighbours are delivered. So it does if
// there is hardly anything else that could show whether the sink works.
//
// Compact: 64 bytes a batch and 16 a run of neighbouring events, for events that the door has admitted; so it is
// bounded as they are, at worst (each event a batch of its own) by 64 bytes an event.
//
// In a stop its waits are cut (see hurry()), and what the sink does not take is put aside: kept() holds it, so that it
// can be written down, until the lane is destroyed. Past the deadline all that is left here is kept likewise.
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
  ~RetryLane();  // gives back all that is in it
  RetryLane(const RetryLane&) = delete;
  RetryLane& operator=(const RetryLane&) = delete;

  // In: to come again after `wait`, or in a stop sooner, with this past; as two batches if `in_halves`. Without memory
  // for it (std::bad_alloc) nothing was taken.
  void put(std::span<const Slice> runs, const Past& past, std::chrono::nanoseconds wait, bool in_halves = false);

  // Out: the batch that is due first, if it is due by `by`, into this one, which is empty. Without memory for it
  // (std::bad_alloc) it stays.
  [[nodiscard]] bool try_take(Clock::time_point by, Batch& to);

  // When the first of them is due; max() if there is none.
  [[nodiscard]] Clock::time_point next_due() const noexcept {
    return Clock::time_point(Clock::duration(next_due_.load()));
  }
  // Events that wait in it, at an instant of the past.
  [[nodiscard]] std::size_t events() const noexcept { return events_.load(); }
  // And batches of them.
  [[nodiscard]] std::size_t batches() const noexcept { return batches_.load(); }

  // A stop has begun, or its deadline came nearer: each wait is cut to a tenth of the time left, and none is left for
  // what the sink fails on while it works: suspects, and what was passed over since it failed, by the count of what the
  // pool has delivered by now.
  void hurry(Clock::time_point now, Clock::time_point deadline, std::uint64_t delivered);

  // Puts aside, for good. Whose tickets went back before.
  void keep(std::vector<Slice>& runs) noexcept;

 private:
  struct Entry {
    Clock::time_point due;
    Past past;
    std::uint32_t events = 0;
    std::uint32_t count = 0;        // of runs
    std::unique_ptr<Slice[]> more;  // if there is more than one
    Slice one{};                    // else this

    [[nodiscard]] std::span<const Slice> runs() const noexcept {
      return more ? std::span<const Slice>(more.get(), count) : std::span<const Slice>(&one, count);
    }
  };
  [[nodiscard]] static Entry entry_of(std::span<const Slice> runs, const Past& past);
  void insert(Entry entry) noexcept;
  void note_first() noexcept;

  std::mutex mutex_;
  std::vector<Entry> entries_;                             // guarded by mutex_; a heap, what is due first in front
  std::vector<Slice> kept_;                                // guarded by mutex_
  Clock::time_point deadline_ = Clock::time_point::max();  // guarded by mutex_
  std::atomic<Clock::rep> next_due_{Clock::time_point::max().time_since_epoch().count()};  // written under mutex_
  std::atomic<std::size_t> batches_{0};                                                    // written under mutex_
  std::atomic<std::size_t> events_{0};                                                     // written under mutex_
};

}  // namespace sluice
