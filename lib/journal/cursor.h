// The order in which segments are fed to the queue, and how far: one cursor over them. Events that go from memory
// straight to the queue move it, and so does the feeder when it has read some. SegmentTable::mutex() guards all of it.
// The first group of calls takes that lock; they are made under Feeder's feed lock, but for next() and skip_to(), which
// the feeder's thread calls without. The second group is called with the lock held.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "journal/segment_table.h"

namespace sluice::journal {

// Where a commit was written.
struct Place {
  std::uint64_t segment = 0;
  std::uint64_t begin = 0, end = 0;  // of the commit
  std::vector<std::uint64_t> ends;   // of each request
};

class Cursor {
 public:
  Cursor(const RunId& run, SegmentTable& table) : run_(run), table_(table) {}
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  // Nothing that is committed is unfed.
  [[nodiscard]] bool caught_up();
  // The cursor is exactly here, so what follows may be fed from memory.
  [[nodiscard]] bool is_at(std::uint64_t segment, std::uint64_t offset);
  void fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence);
  // The feeder may read this commit, behind what was fed from memory. Not before that is decided: the feeder might be
  // reading, and would bring it a second time.
  void show(const Place& place);
  // These events, read from this segment, are fed, and the cursor moves to `offset`.
  void fed(const RunId& run, std::uint64_t segment, std::span<const Record> events, std::uint64_t offset);

  struct Stretch {
    SegmentPtr segment;
    std::uint64_t from = 0, to = 0;
  };
  // What to read next; nothing: caught up. Adds events that were found lost to `lost`, once.
  [[nodiscard]] std::optional<Stretch> next(std::uint64_t& lost);
  // Nothing up to here is to be fed.
  void skip_to(const SegmentPtr& segment, std::uint64_t offset);

  // ---- with the lock held
  // Segments that are fed to their end leave the order.
  void normalize();
  // The order at the start, once all segments of earlier runs are known.
  void begin(std::vector<SegmentPtr> order);
  // Whether they are. The committer's thread may ask without the lock.
  [[nodiscard]] bool begun() const noexcept { return begun_; }
  void append(const SegmentPtr& segment);
  // By turn_of(), but behind the segment that is being fed at the moment. Does nothing before begin().
  void insert(const SegmentPtr& segment);
  // The unfinished events of `from` are in `copies` now, which take its turn.
  void replace(const SegmentPtr& from, const SegmentPtr& copies);
  void remove(const SegmentPtr& segment) { std::erase(order_, segment); }
  [[nodiscard]] bool contains(const SegmentPtr& segment) const;
  [[nodiscard]] std::unordered_set<const Segment*> unfed() const;
  // The events of this segment before this offset are fed.
  [[nodiscard]] std::uint64_t fed_to(const SegmentPtr& segment);
  // Of this run, everything up to this sequence was fed.
  [[nodiscard]] std::uint64_t fed_sequence() const noexcept { return fed_sequence_; }
  // So many taken-over events are lost; next() reports them.
  void add_lost(std::uint64_t events) noexcept { lost_ += events; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  const RunId run_;
  SegmentTable& table_;
  std::deque<SegmentPtr> order_;         // from the cursor on
  std::uint64_t offset_ = kFirstCommit;  // of the cursor, in the first of them
  std::uint64_t fed_sequence_ = 0;
  std::uint64_t lost_ = 0;
  bool begun_ = false;
};

}  // namespace sluice::journal
