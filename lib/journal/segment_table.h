// All segments of the journal by number, the active one, and the places of moved events.
// It owns the journal's lock, which also guards Segment::feed and Cursor. Lock order: after Feeder's feed lock; no
// other lock is taken under it, and the disk is neither read nor written. The committer's thread alone changes the
// table, under the lock, and so reads it without; other threads read it under the lock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "journal/budget.h"
#include "journal/segment.h"

namespace sluice::journal {

class SegmentTable {
 public:
  explicit SegmentTable(Budget& budget) : budget_(budget) {}
  SegmentTable(const SegmentTable&) = delete;
  SegmentTable& operator=(const SegmentTable&) = delete;

  [[nodiscard]] std::mutex& mutex() const noexcept { return mutex_; }

  [[nodiscard]] const std::map<std::uint64_t, SegmentPtr>& all() const noexcept { return segments_; }
  // Null: there is none of this number.
  [[nodiscard]] SegmentPtr find(std::uint64_t number) const;
  // Written to by commits; null if none could be begun since the start, or the journal is closed.
  [[nodiscard]] const SegmentPtr& active() const noexcept { return active_; }
  // In the order of turn_of().
  [[nodiscard]] std::vector<SegmentPtr> in_order() const;
  // All files, and what else counts against the limit.
  [[nodiscard]] std::uint64_t physical_bytes() const;

  // ---- changes, under the lock
  void enter(const SegmentPtr& segment);
  void erase(std::uint64_t number);
  void activate(const SegmentPtr& segment);
  void deactivate() { active_.reset(); }

  // ---- events that have moved: blocks in memory still name the segment that they were committed to
  // The events count in `copies` from here, no longer in `from`. Enters `copies`. Under the lock.
  void move(Segment& from, const IntervalSet& events, const SegmentPtr& copies);
  [[nodiscard]] bool has_moved(std::uint64_t segment) const { return redirects_.contains(segment); }
  // The segment that has the event of this one now.
  [[nodiscard]] std::uint64_t home_of(std::uint64_t segment, std::uint64_t sequence) const;

  // ---- runs that wrote here count up; the committer's thread alone
  [[nodiscard]] std::uint64_t ordinal() const noexcept { return ordinal_; }  // of this run
  void come_after(std::uint64_t ordinal) noexcept { ordinal_ = std::max(ordinal_, ordinal + 1); }
  // The predecessor of this run's first segment: its header says where that one ends. Null: there is none.
  [[nodiscard]] SegmentPtr last_of_earlier_runs() const;

 private:
  struct Redirect {
    IntervalSet events;
    std::uint64_t to = 0;
  };

  Budget& budget_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, SegmentPtr> segments_;              // guarded by mutex_, as said above
  SegmentPtr active_;                                         // likewise
  std::map<std::uint64_t, std::vector<Redirect>> redirects_;  // likewise; by the segment that events left
  std::uint64_t ordinal_ = 1;
};

}  // namespace sluice::journal
