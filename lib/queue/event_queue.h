// The lock-free queue between intake and workers, which can be closed. Producers push whole blocks, numbered and in
// order, under one short lock and by one producer token (the queue below keeps order a token only); workers take slices
// without a lock. It is not bounded: the door is. Closing passes no message through it: from close() on, nothing goes
// in and nothing comes out.
//
// Wake-ups, not the queue, are the cost. So of the idle workers one naps, a millisecond at a time, and looks; the
// others are parked. A push signals nobody while somebody is busy or naps (unless a lot waits), and a parked worker at
// most once. Whoever takes and leaves something wakes the next one. A worker may wait for more than events (its
// retries, its sink): it names the time until which it waits, and nudge() makes all waiters look again.
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
  static constexpr std::size_t kMostPop = 32;  // slices at a time

  // `lot`: so many waiting events wake the napping worker early. `slice_events`: how many a slice carries at most, 1 to
  // Slice::kMost; no more than a batch takes, or one worker would hold what another could deliver. `workers`: how many
  // take from it; memory is set aside for what so many may put back.
  EventQueue(const RunId& run, std::size_t lot, std::size_t slice_events, std::size_t workers = 1);
  ~EventQueue();  // frees what was left in it
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  enum class Push : std::uint8_t { done, closed, no_memory };

  // Gives the block's events the next ids and puts them in; `first` is the first of them. On any other answer than
  // `done` the block is still its owner's, and nothing was taken; its ids are used up all the same. Any thread.
  [[nodiscard]] Push push(Block::Owner& block, EventId& first);

  // The two halves of it, for who numbers earlier than he pushes: the first of `count` ids; and a block that has its
  // ids and was accepted before, so that it is not counted again.
  [[nodiscard]] std::uint64_t take_numbers(std::uint64_t count);
  [[nodiscard]] Push push_numbered(Block::Owner& block);

  // Up to slices.size() slices (at most kMostPop), in order; 0 if there are none, or once closed. Workers only; never
  // waits.
  [[nodiscard]] std::size_t try_pop(std::span<Slice> slices) noexcept;
  // The end of what the last try_pop() gave, which the worker's batch has no room for: the next to be popped, by any
  // worker. With one worker the order stays as it was.
  void put_back(std::span<const Slice> slices) noexcept;

  // A worker with nothing to do: returns when there may be something, at `until`, once closed, or when it was nudged
  // since `seen`, which it has read before it looked at what else it waits for.
  void wait(std::uint64_t seen, Clock::time_point until);
  void wait(Clock::time_point until = Clock::time_point::max()) { wait(nudges(), until); }
  // The same for a worker that may not take events now: they do not wake it.
  void wait_nudge(std::uint64_t seen, Clock::time_point until);
  [[nodiscard]] std::uint64_t nudges() const noexcept { return nudges_.load(); }
  // All who wait look again.
  void nudge();
  // A worker with room in its batch: the same, but at most until `until`. False: hurried, it should go as it is.
  [[nodiscard]] bool wait_linger(std::chrono::steady_clock::time_point until);

  // From here no worker lingers, and each one that waits returns.
  void hurry();
  // From here nothing goes in or out; every waiter returns. After it `accepted` is final. Idempotent.
  void close();
  [[nodiscard]] bool closed() const noexcept { return closed_.load(); }

  [[nodiscard]] std::size_t slice_events() const noexcept { return slice_events_; }

  // Events that were put in by push(), so far. Signal safe.
  [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_.load(); }
  // Events in it now. At an instant of the past.
  [[nodiscard]] std::size_t size_approx() const noexcept;

 private:
  class Slices;  // the only place that knows what is below

  void ring_one();
  void tell(std::int64_t count);
  [[nodiscard]] bool put(Block& block);
  [[nodiscard]] std::size_t take_back(std::span<Slice> slices) noexcept;

  const RunId run_;
  const std::int64_t lot_;
  const std::uint32_t slice_events_;

  std::mutex push_mutex_;            // held from numbering to the enqueue
  std::uint64_t next_sequence_ = 1;  // guarded by push_mutex_
  std::unique_ptr<Slices> slices_;   // in: guarded by push_mutex_; out: synchronises itself
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<bool> closed_{false};  // never returns to false

  // Put in and not taken yet. May be below 0 for an instant: a worker may be faster than the producer's count.
  alignas(64) std::atomic<std::int64_t> ready_{0};
  std::atomic<bool> napping_{false};    // one worker naps and will look within a millisecond
  std::atomic<std::size_t> parked_{0};  // workers that sleep until they are rung

  std::mutex back_mutex_;
  std::vector<Slice> back_;                // guarded by back_mutex_; before all that is in slices_, in order
  std::atomic<std::size_t> back_size_{0};  // written under back_mutex_

  alignas(64) std::mutex wait_mutex_;
  std::condition_variable nap_, park_, held_;
  std::atomic<std::uint64_t> nudges_{0};  // written under wait_mutex_
  std::size_t rings_ = 0;  // guarded by wait_mutex_; parked workers that have been rung and have not gone yet
  bool nap_over_ = false;  // guarded by wait_mutex_
  bool hurried_ = false;   // guarded by wait_mutex_; never returns to false
};

}  // namespace sluice
