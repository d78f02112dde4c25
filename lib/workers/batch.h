// A worker's batch: what it has taken from the queue or the retry lane and is answerable for. One thread's, its
// worker's. Holds each event's delivery and, as runs of blocks, where they lie; gives blocks back by runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "admission/admission.h"
#include "queue/block.h"
#include "sluice/event.h"
#include "sluice/verdict.h"

namespace sluice {

// What has happened to events before the attempt at hand: all events of a batch share it.
struct Past {
  std::uint32_t attempt = 1;         // the number of the attempt at hand
  std::uint32_t passed_over = 0;     // how often they failed while others were delivered since the failure before
  std::uint64_t delivered_then = 0;  // by the pool, when they failed last
  bool suspect = false;              // the sink works, and says that it fails on them
};

class Batch {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20U;  // of payload, unless one event alone is more

  explicit Batch(std::size_t most_events);
  ~Batch() { release_all(); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool full() const noexcept { return room() == 0 || bytes_ >= kMostBytes; }
  [[nodiscard]] std::size_t room() const noexcept { return most_events_ - size_; }

  // Takes what fits from the front of the slice, at least one event if the batch is empty; the slice keeps the rest.
  // If there is no memory for it (std::bad_alloc), nothing was taken.
  void add(Slice& slice);

  // Takes a whole batch of before, into an empty one. If there is no memory for it, nothing was taken.
  void add_again(std::span<const Slice> runs, const Past& past);
  [[nodiscard]] const Past& past() const noexcept { return past_; }

  [[nodiscard]] std::span<const Delivery> deliveries() const noexcept { return {deliveries_.data(), size_}; }
  [[nodiscard]] std::span<Verdict> verdicts() noexcept { return {verdicts_.data(), size_}; }

  // All verdicts as a batch begins.
  void clear_verdicts() noexcept;

  // tell(block, first sequence, how many), for each run of events with a final verdict.
  template <typename Tell>
  void each_finished(Tell tell) const {
    std::size_t i = 0;
    for (const Slice& run : runs_) {
      for (const std::size_t run_end = i + run.count; i < run_end;) {
        if (!verdicts_[i].is_final()) {
          ++i;
          continue;
        }
        const std::uint64_t first = deliveries_[i].id.sequence;
        std::size_t end = i + 1;
        while (end < run_end && verdicts_[end].is_final() && deliveries_[end].id.sequence == first + (end - i)) ++end;
        tell(*run.block, first, static_cast<std::uint32_t>(end - i));
        i = end;
      }
    }
  }

  // Ends the batch: the blocks of its finished events are given back, the others go to `suspect` or `again` by their
  // verdict, as runs that are the holder's to release. A few that are left in a block which others have left are
  // copied out of it, if `door` has room. If there is no memory for it (std::bad_alloc), nothing has changed.
  void part(Admission& door, std::vector<Slice>& again, std::vector<Slice>& suspect);

  // Ends the batch: all of it goes to `to`, whatever became of it. Without memory it is given back.
  void move_to(std::vector<Slice>& to) noexcept;

  // Gives everything back, whatever became of it.
  void release_all() noexcept;

 private:
  void make_room(std::size_t events);
  void take(const Slice& run) noexcept;
  void clear() noexcept;
  static void copy_out(std::vector<Slice>& runs, std::size_t first, Admission& door) noexcept;

  const std::size_t most_events_;
  // As long as the longest batch so far, of which size_ are this one's: written over, not made anew each time.
  std::vector<Delivery> deliveries_;
  std::vector<Verdict> verdicts_;
  std::vector<Slice> runs_;  // of this batch, in order; a slice's count may be more than Slice::kMost here
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
  Past past_;
};

}  // namespace sluice
