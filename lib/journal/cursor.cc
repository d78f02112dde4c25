// See the header.
#include "journal/cursor.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <mutex>
#include <utility>

namespace sluice::journal {

void Cursor::normalize() {
  while (!order_.empty() && order_.front() != table_.active() && offset_ >= order_.front()->feed.end) {
    FeedState& done = order_.front()->feed;
    if (done.unfed > 0) {
      // The reader went over all of it, and these were not there.
      done.lost += done.unfed;
      lost_ += std::exchange(done.unfed, 0);
      done.damaged = true;
    }
    order_.pop_front();
    offset_ = kFirstCommit;
  }
}

bool Cursor::caught_up() {
  const std::lock_guard lock(table_.mutex());
  normalize();
  return order_.empty() || (order_.front() == table_.active() && offset_ >= order_.front()->feed.end);
}

bool Cursor::is_at(std::uint64_t segment, std::uint64_t offset) {
  const std::lock_guard lock(table_.mutex());
  normalize();
  if (order_.empty() || order_.front()->number != segment) return false;
  // Zeros may lie before this commit, and behind everything that was shown.
  const std::uint64_t end = order_.front()->feed.end;
  return offset_ == offset || (offset_ == end && next_block(offset_) == offset);
}

void Cursor::show(const Place& place) {
  const std::lock_guard lock(table_.mutex());
  if (const SegmentPtr segment = table_.find(place.segment)) segment->feed.end = place.end;
}

void Cursor::fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence) {
  const std::lock_guard lock(table_.mutex());
  FeedState& feed = order_.front()->feed;
  assert(feed.unfed >= events);
  offset_ = offset;
  feed.unfed -= events;
  fed_sequence_ = std::max(fed_sequence_, last_sequence);
}

std::optional<Cursor::Stretch> Cursor::next(std::uint64_t& lost) {
  const std::lock_guard lock(table_.mutex());
  normalize();
  lost += std::exchange(lost_, 0);
  if (order_.empty()) return std::nullopt;
  const SegmentPtr& first = order_.front();
  if (first == table_.active() && offset_ >= first->feed.end) return std::nullopt;
  return Stretch{first, offset_, first->feed.end};
}

void Cursor::skip_to(const SegmentPtr& segment, std::uint64_t offset) {
  const std::lock_guard lock(table_.mutex());
  if (!order_.empty() && order_.front() == segment) offset_ = std::max(offset_, offset);
}

void Cursor::fed(const RunId& run, std::uint64_t number, std::span<const Record> events, std::uint64_t offset) {
  if (events.empty()) return;
  const std::lock_guard lock(table_.mutex());
  // The committer may have moved some meanwhile: these count as fed where they are now, and not here.
  std::uint64_t here = events.size();
  if (table_.has_moved(number)) {
    for (const Record& event : events) {
      const std::uint64_t home = table_.home_of(number, event.sequence);
      if (home == number) continue;
      --here;
      const SegmentPtr copies = table_.find(home);
      if (!copies || copies->feed.skip.add(event.sequence, 1) == 0) continue;
      copies->feed.unfed -= std::min<std::uint64_t>(copies->feed.unfed, 1);
    }
  }
  if (!order_.empty() && order_.front()->number == number) {
    FeedState& feed = order_.front()->feed;
    offset_ = std::max(offset_, offset);
    feed.unfed -= std::min(feed.unfed, here);
    // The committer may be copying them at the moment: it must see that they are fed.
    for (auto run_begin = events.begin(); run_begin != events.end();) {
      std::uint64_t count = 1;
      auto after = run_begin + 1;
      for (; after != events.end() && after->sequence == run_begin->sequence + count; ++after) ++count;
      feed.skip.add(run_begin->sequence, count);
      run_begin = after;
    }
  }
  if (run == run_) fed_sequence_ = std::max(fed_sequence_, events.back().sequence);
}

void Cursor::begin(std::vector<SegmentPtr> order) {
  order_.assign(order.begin(), order.end());
  begun_ = true;
}

void Cursor::append(const SegmentPtr& segment) {
  if (order_.empty()) offset_ = kFirstCommit;
  order_.push_back(segment);
}

void Cursor::insert(const SegmentPtr& segment) {
  if (!begun_) return;  // begin() sorts all of them
  normalize();
  auto at = order_.begin();
  if (at != order_.end()) ++at;
  while (at != order_.end() && turn_of(**at) < turn_of(*segment)) ++at;
  order_.insert(at, segment);
}

void Cursor::replace(const SegmentPtr& from, const SegmentPtr& copies) {
  const auto place = std::ranges::find(order_, from);
  if (place == order_.end()) return;
  const bool at_cursor = place == order_.begin();
  if (from == table_.active()) {
    // The active segment stays until another one is: what is behind the cursor in it is skipped. Copies of what was not
    // synced in it come behind these copies.
    order_.insert(std::next(place), copies);
    if (at_cursor) offset_ = from->feed.end;
  } else {
    if (at_cursor) offset_ = kFirstCommit;
    *place = copies;
  }
}

bool Cursor::contains(const SegmentPtr& segment) const { return std::ranges::find(order_, segment) != order_.end(); }

std::unordered_set<const Segment*> Cursor::unfed() const {
  std::unordered_set<const Segment*> unfed;
  for (const SegmentPtr& segment : order_) unfed.insert(segment.get());
  return unfed;
}

std::uint64_t Cursor::fed_to(const SegmentPtr& segment) {
  normalize();
  const auto place = std::ranges::find(order_, segment);
  if (place == order_.end()) return UINT64_MAX;
  return place == order_.begin() ? offset_ : 0;
}

}  // namespace sluice::journal
