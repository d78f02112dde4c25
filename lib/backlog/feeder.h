// The one place where what is on disk and what is in memory meet: whether a block goes straight to the queue, or stays
// on disk as backlog until the feeder, a thread of its own, brings it back. One lock, held from looking at the cursor
// to the enqueue; while there is a backlog only the feeder moves the cursor, so it need not hold the lock while it
// reads. So there is no gap, no double and no change of order at the seam.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "admission/admission.h"
#include "backlog/unrecorded.h"
#include "journal/journal.h"
#include "journal/pace.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"

namespace sluice::backlog {

class Feeder {
 public:
  struct Hooks {
    std::function<void(std::uint64_t)> lost;  // so many events are broken on disk
    LogHook log;
  };

  // `keeps_alive` owns all that is referred to here: the thread holds it too, since a dead disk may hold the thread.
  Feeder(journal::Journal& journal, EventQueue& queue, Admission& door, BlockMemory& memory, const journal::Pace& pace,
         Hooks hooks);
  ~Feeder();
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;
  void run(std::shared_ptr<const void> keeps_alive);

  // Under Ack::queued: the block goes straight to the queue if nothing is on disk before it, and is known as unrecorded
  // from then. `behind`: something is, and the block is to be committed; the next ones are behind it as well, until it
  // was.
  enum class Straight : std::uint8_t { done, closed, no_memory, behind };
  [[nodiscard]] Straight try_straight(Block::Owner& block, Unrecorded& unrecorded, EventId& first);
  // Whether it would be `behind` at this moment.
  [[nodiscard]] bool is_behind() const { return expected_.load() > 0 || !journal_.caught_up(); }
  // From here all are behind: what has no record is about to be written down, and nobody comes after it.
  void end_straight();
  void expect_commit(std::uint64_t requests) noexcept { expected_.fetch_add(requests); }

  // The committer's, behind a commit: each block in its turn, straight to the queue or backlog. A block that stays with
  // its owner is backlog.
  void committed(std::span<Block::Owner> blocks, const journal::Journal::Place& place);
  void gave_up(std::uint64_t requests) noexcept { expected_.fetch_sub(requests); }

  // There is a backlog, or room.
  void wake();

  // Asks the thread to end; true once it has, false if it had to be let go.
  void stop();
  [[nodiscard]] bool join(std::chrono::steady_clock::time_point until);

 private:
  void bring_all();
  [[nodiscard]] bool bring();
  void rest(std::chrono::milliseconds at_most);

  journal::Journal& journal_;
  EventQueue& queue_;
  Admission& door_;
  BlockMemory& memory_;
  const journal::BufferSource buffers_;  // out of memory_
  const journal::Pace pace_;
  const Hooks hooks_;

  std::mutex feed_mutex_;       // from looking at the cursor to the enqueue
  bool straight_ends_ = false;  // guarded by feed_mutex_; never returns to false
  std::atomic<std::uint64_t> expected_{
      0};  // requests on their way to a commit; raised under feed_mutex_ where it decides

  std::mutex mutex_;
  std::condition_variable changed_;
  bool awake_ = true;                  // guarded by mutex_
  bool stopping_ = false;              // guarded by mutex_
  bool ended_ = false;                 // guarded by mutex_; the thread's last act
  journal::Journal::Backlog backlog_;  // the thread's
  std::jthread thread_;
};

}  // namespace sluice::backlog
