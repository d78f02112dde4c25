// The closable lock-free queue between intake and workers. Any thread pushes; workers pop. A push takes a whole block,
// gives it ids and enqueues it under one short lock and one producer token, because the queue underneath keeps order
// only per token; workers pop slices without a lock. The queue is not bounded; the door in front of it is. Closing
// sends no message through the queue: after close() nothing goes in and nothing comes out.
//
// Wake-ups, not the queue, are the cost. So one idle worker naps, a millisecond at a time, and polls; the others are
// parked. A push signals nobody while a worker is busy or naps (unless a lot of events wait), and wakes a parked worker
// at most once. A worker that pops and leaves events wakes the next one. A worker may wait for more than events (its
// retries, its sink): it passes the time until which it waits, and nudge() makes all waiters look again.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "queue/block.h"

namespace sluice {

class EventQueue {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kMaxPop = 32;  // slices per try_pop()

  // `lot`: so many waiting events wake the napping worker early. `slice_events`: the most events of a slice, 1 to
  // Slice::kMaxEvents; not more than a batch takes, or a worker would hold events that another could deliver.
  // `workers`: the number of threads that pop; memory is reserved for what they may put back.
  EventQueue(const RunId& run, std::size_t lot, std::size_t slice_events, std::size_t workers = 1);
  ~EventQueue();  // releases the events left in it
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  enum class Push : std::uint8_t { done, closed, no_memory };

  // Gives the block's events the next ids, of which `first` is the first, and enqueues them. On any other answer than
  // `done` the caller still owns the block and nothing was enqueued, but its ids are used up. Any thread.
  [[nodiscard]] Push push(Block::Owner& block, EventId& first);

  // The two halves of push(), for blocks that get their ids earlier. reserve_ids() returns the first of `count` ids;
  // push_with_ids() enqueues a block that has its ids and was counted as accepted before.
  [[nodiscard]] std::uint64_t reserve_ids(std::uint64_t count);
  [[nodiscard]] Push push_with_ids(Block::Owner& block);

  // Pops up to slices.size() slices (at most kMaxPop), in order; 0 if there are none, or once closed. Workers only.
  [[nodiscard]] std::size_t try_pop(std::span<Slice> slices) noexcept;
  // Returns the last of the slices that the caller's try_pop() gave it, because they do not fit into its batch. They
  // are the next to be popped, by any worker; with one worker the order is unchanged.
  void put_back(std::span<const Slice> slices) noexcept;

  // For an idle worker: returns when there may be events, at `until`, once closed, or after a nudge() since `seen`.
  // Read `seen` from nudges() before checking the other conditions that the worker waits for.
  void wait(std::uint64_t seen, Clock::time_point until);
  void wait(Clock::time_point until = Clock::time_point::max()) { wait(nudges(), until); }
  // The same for a worker that may not pop now: events do not wake it.
  void wait_nudge(std::uint64_t seen, Clock::time_point until);
  [[nodiscard]] std::uint64_t nudges() const noexcept { return nudges_.load(); }
  // Makes all waiting workers look again.
  void nudge();
  // For a worker whose batch is not full: waits for events until `until`. False: hurried or closed, deliver the batch
  // as it is.
  [[nodiscard]] bool wait_linger(std::chrono::steady_clock::time_point until);

  // Ends all lingering, for good, and wakes all waiting workers.
  void hurry();
  // Closes the queue: nothing goes in or out, and all waits return. Afterwards `accepted` is final. Idempotent.
  void close();
  [[nodiscard]] bool closed() const noexcept { return closed_.load(); }

  [[nodiscard]] std::size_t slice_events() const noexcept { return slice_events_; }

  // The number of events enqueued by push() so far. Async-signal-safe.
  [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_.load(); }
  // The number of events in it at some recent instant.
  [[nodiscard]] std::size_t size_approx() const noexcept;

 private:
  class Slices;  // the queue underneath; only event_queue.cc sees it

  void wake_one();
  void wake_for(std::int64_t count);
  [[nodiscard]] bool enqueue(Block& block);
  [[nodiscard]] std::size_t pop_returned(std::span<Slice> slices) noexcept;

  const RunId run_;
  const std::int64_t lot_;
  const std::uint32_t slice_events_;

  std::mutex push_mutex_;            // held from assigning ids to enqueueing
  std::uint64_t next_sequence_ = 1;  // guarded by push_mutex_
  std::unique_ptr<Slices> slices_;   // enqueue: guarded by push_mutex_; dequeue: synchronises itself
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<bool> closed_{false};  // never returns to false

  // Events enqueued and not popped. May be below 0 briefly: a worker may pop before the producer has counted.
  alignas(64) std::atomic<std::int64_t> ready_{0};
  std::atomic<bool> napping_{false};    // a worker naps and polls within a millisecond
  std::atomic<std::size_t> parked_{0};  // workers asleep until woken

  std::mutex returned_mutex_;
  std::vector<Slice> returned_;                // guarded by returned_mutex_; in order, popped before slices_
  std::atomic<std::size_t> returned_size_{0};  // written under returned_mutex_

  alignas(64) std::mutex wait_mutex_;
  std::condition_variable napping_worker_, parked_workers_, paused_workers_;
  std::atomic<std::uint64_t> nudges_{0};  // written under wait_mutex_
  std::size_t wakes_ = 0;  // guarded by wait_mutex_; parked workers that were woken and have not left yet
  bool nap_over_ = false;  // guarded by wait_mutex_
  bool hurried_ = false;   // guarded by wait_mutex_; never returns to false
};

}  // namespace sluice
