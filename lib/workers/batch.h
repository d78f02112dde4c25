// A worker's batch: the events that it took from the queue or the retry lane and has not finished. Used by its worker's
// thread only. Holds a Delivery per event, and the runs of the blocks that the events lie in; releases blocks by runs.
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

// What happened to the events of a batch before this attempt; all of them share it.
struct History {
  std::uint32_t attempt = 1;         // the number of this attempt
  std::uint32_t passed_over = 0;     // how many of its failures followed a delivery of other events
  std::uint64_t delivered_then = 0;  // the pool's count of delivered events at the last failure
  bool suspect = false;              // the sink works, and says that it fails on these events
};

class Batch {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 20U;  // of payload, unless a single event is larger

  explicit Batch(std::size_t max_events);
  ~Batch() { release_all(); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool full() const noexcept { return capacity_left() == 0 || bytes_ >= kMaxBytes; }
  [[nodiscard]] std::size_t capacity_left() const noexcept { return max_events_ - size_; }

  // Moves the events that fit from the front of the slice into the batch, at least one if the batch is empty. Throws
  // std::bad_alloc, and then moves nothing.
  void add(Slice& slice);

  // Fills an empty batch with an earlier one. Throws std::bad_alloc, and then takes nothing.
  void add_again(std::span<const Slice> runs, const History& history);
  [[nodiscard]] const History& history() const noexcept { return history_; }

  [[nodiscard]] std::span<const Delivery> deliveries() const noexcept { return {deliveries_.data(), size_}; }
  [[nodiscard]] std::span<Verdict> verdicts() noexcept { return {verdicts_.data(), size_}; }

  // Sets all verdicts to try_again.
  void clear_verdicts() noexcept;

  // Calls visit(block, first sequence, count) for each run of events with a final verdict.
  template <typename Visit>
  void each_finished(Visit visit) const {
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
        visit(*run.block, first, static_cast<std::uint32_t>(end - i));
        i = end;
      }
    }
  }

  // Ends the batch: releases its finished events, and appends the others to `suspect` or `again` by their verdict, as
  // runs that the caller must release. If only a few events of a block are left, copies them into a new block, provided
  // that `door` admits the bytes. Throws std::bad_alloc, and then changes nothing.
  void split(Admission& door, std::vector<Slice>& again, std::vector<Slice>& suspect);

  // Ends the batch: appends all its runs to `to`, whatever the verdicts. Without memory it releases them.
  void move_to(std::vector<Slice>& to) noexcept;

  // Ends the batch: releases all its events, whatever the verdicts.
  void release_all() noexcept;

 private:
  void reserve(std::size_t events);
  void append(const Slice& run) noexcept;
  void clear() noexcept;
  static void copy_out(std::vector<Slice>& runs, std::size_t first, Admission& door) noexcept;

  const std::size_t max_events_;
  // As long as the longest batch so far; this batch uses the first size_. Overwritten, because constructing them for
  // each batch costs more.
  std::vector<Delivery> deliveries_;
  std::vector<Verdict> verdicts_;
  std::vector<Slice> runs_;  // in order; here a count may exceed Slice::kMaxEvents
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
  History history_;
};

}  // namespace sluice
