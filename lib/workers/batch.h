// A worker's batch: what it has taken from the queue and is answerable for. One thread's, its worker's.
// Holds each event's delivery and the block that it lies in; gives blocks back by runs.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lifecycle/admission.h"
#include "queue/block.h"
#include "sluice/event.h"

namespace sluice {

class Batch {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20U;  // of payload, unless one event alone is more

  explicit Batch(std::size_t most_events);
  ~Batch() { release_all(); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool full() const noexcept { return room() == 0 || bytes_ >= kMostBytes; }
  [[nodiscard]] std::size_t room() const noexcept { return most_events_ - size_; }

  // Takes what fits from the front of the slice, at least one event if the batch is empty; the slice keeps the rest.
  void add(Slice& slice);

  [[nodiscard]] std::span<const Delivery> deliveries() const noexcept { return {deliveries_.data(), size_}; }
  [[nodiscard]] std::span<Verdict> verdicts() noexcept { return {verdicts_.data(), size_}; }

  // All verdicts as a batch begins.
  void clear_verdicts();

  // tell(block, first sequence, how many), for each run of events with a final verdict.
  template <typename Tell>
  void each_finished(Tell tell) const {
    const auto finished = [this](std::size_t i) { return verdicts_[i].kind() != Verdict::try_again; };
    for (std::size_t i = 0; i < size_;) {
      if (!finished(i)) {
        ++i;
        continue;
      }
      const std::uint64_t first = deliveries_[i].id.sequence;
      std::size_t end = i + 1;
      while (end < size_ && blocks_[end] == blocks_[i] && finished(end) &&
             deliveries_[end].id.sequence == first + (end - i)) {
        ++end;
      }
      tell(*blocks_[i], first, static_cast<std::uint32_t>(end - i));
      i = end;
    }
  }

  // Drops the events that have a final verdict and gives their blocks back; the rest is a batch of its own, one attempt
  // older. Events that stay behind in a block which others have left are copied out of it, if `door` has room.
  void keep_unfinished(Admission& door);

  // Gives everything back, whatever became of it.
  void release_all() noexcept;

 private:
  void copy_out(std::size_t from, std::size_t to, Admission& door);

  const std::size_t most_events_;
  // As long as the longest batch so far, of which size_ are this one's: written over, not made anew each time.
  std::vector<Delivery> deliveries_;
  std::vector<Block*> blocks_;
  std::vector<Verdict> verdicts_;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace sluice
