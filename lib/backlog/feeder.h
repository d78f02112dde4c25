// Decides for each committed block whether it goes straight to the queue or stays on disk as backlog; and brings the
// backlog back, by a thread of its own, the feeder. One lock, feed_mutex_, is held from the look at the cursor to the
// enqueue; while there is a backlog only the feeder moves the cursor, so it does not hold the lock while it reads. So
// there is no gap, no double delivery and no change of order between the two ways.
// Lock order: feed_mutex_, then the journal's (SegmentTable::mutex()) or the queue's. mutex_ is held over no other
// call.
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

  Feeder(journal::Journal& journal, EventQueue& queue, Admission& door, BlockMemory& memory, const journal::Pace& pace,
         Hooks hooks);
  ~Feeder();
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;
  // Starts the thread, which holds `keeps_alive`, the owner of everything that is referred to here: a dead disk may
  // keep the thread beyond the stop.
  void run(std::shared_ptr<const void> keeps_alive);

  // Under Ack::queued: the block goes straight to the queue if no event on disk is before it, and is watched as
  // unrecorded from then. `behind`: some event is, so the block must be committed; until it is, later blocks are behind
  // it.
  enum class Straight : std::uint8_t { done, closed, no_memory, behind };
  [[nodiscard]] Straight try_straight(Block::Owner& block, Unrecorded& unrecorded, EventId& first);
  // Whether a block would be `behind` at this moment.
  [[nodiscard]] bool is_behind() const { return expected_.load() > 0 || !journal_.caught_up(); }
  // From here every block is behind: the unrecorded events are about to be written down, and none may come after them.
  void end_straight();
  void expect_commit(std::uint64_t requests) noexcept { expected_.fetch_add(requests); }

  // After a commit, by the committer: each block in order goes straight to the queue, or stays with its owner and is
  // backlog.
  void committed(std::span<Block::Owner> blocks, const journal::Journal::Place& place);
  void gave_up(std::uint64_t requests) noexcept { expected_.fetch_sub(requests); }

  // There is a backlog, or new room.
  void wake();

  // Asks the thread to end. join(): true once it has; false: not in time, and it is left behind.
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
