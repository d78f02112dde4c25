// Settling, and what follows from it: which events of a segment are finished, on disk and for good, and the removing of
// segments in which nothing else is left. The committer's thread, but for what takes the lock.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>
#include <vector>

#include "journal/journal.h"

namespace sluice::journal {

namespace {

constexpr std::size_t kRangesARecord = 4096;

}  // namespace

// ---- settling

void Journal::settle(std::uint64_t number, std::uint64_t first, std::uint64_t count) {
  if (count > 1 && redirects_.contains(number)) {
    for (std::uint64_t i = 0; i < count; ++i) settle(number, first + i, 1);  // rare: some of them stand elsewhere now
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto at = segments_.find(home_of(number, first));
  if (at == segments_.end() || at->second->finished.add(first, count) == 0) return;
  at->second->unwritten.add(first, count);
  unwritten_settles_ = true;
}

// Where an event of this segment stands by now. Under mutex_.
std::uint64_t Journal::home_of(std::uint64_t segment, std::uint64_t sequence) const {
  const auto moved = redirects_.find(segment);
  if (moved == redirects_.end()) return segment;
  const auto to =
      std::ranges::find_if(moved->second, [&](const Redirect& one) { return one.events.contains(sequence); });
  return to == moved->second.end() ? segment : to->to;
}

std::error_code Journal::write_header_copy(DiskFile& settled, const Segment& segment) {
  const HeaderCopyBytes bytes = encode(HeaderCopy{segment.header, segment.made_size});
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  return settled.write(0, piece);
}

std::error_code Journal::write_settles(Segment& segment) {
  if (segment.settled_failed) return rewrite_settled(segment);
  if (segment.settled_end == 0) {  // it was made by a start, or by a build that knew no such copy
    if (const auto error = write_header_copy(*segment.settled, segment)) {
      segment.settled_failed = true;
      return error;
    }
    segment.settled_end = kHeaderCopySize;
  }
  std::vector<Range> ranges;
  segment.unwritten.each([&](std::uint64_t first, std::uint64_t count) { ranges.push_back({first, count}); });
  for (std::size_t at = 0; at < ranges.size(); at += kRangesARecord) {
    const auto some = std::span(ranges).subspan(at, std::min(kRangesARecord, ranges.size() - at));
    const std::string record = encode(some, settled_seed(segment.header.seed), segment.settled_end);
    const std::array<std::span<const std::byte>, 1> piece{std::as_bytes(std::span(record))};
    if (const auto error = segment.settled->write(segment.settled_end, piece)) {
      segment.settled_failed = true;
      return error;
    }
    segment.settled_end += aligned(record.size());
  }
  segment.unwritten.clear();
  segment.settled_dirty = true;
  return {};
}

// After a failed write or sync: the file made anew beside the old one, with all that is known.
std::error_code Journal::rewrite_settled(Segment& segment) {
  const std::string draft = draft_name(settled_name(segment.number));
  static_cast<void>(disk_.unlink(draft));
  std::unique_ptr<DiskFile> file;
  std::error_code error = disk_.open(draft, Disk::Open::create, file);
  if (!error) {
    error = file->preallocate(std::max(segment.settled_size, kHeaderCopySize + segment.events * kSettleBytes));
  }
  if (!error) error = write_header_copy(*file, segment);
  std::vector<Range> ranges;
  segment.finished.each([&](std::uint64_t first, std::uint64_t count) { ranges.push_back({first, count}); });
  std::uint64_t end = kHeaderCopySize;
  for (std::size_t at = 0; at < ranges.size() && !error; at += kRangesARecord) {
    const auto some = std::span(ranges).subspan(at, std::min(kRangesARecord, ranges.size() - at));
    const std::string record = encode(some, settled_seed(segment.header.seed), end);
    const std::array<std::span<const std::byte>, 1> piece{std::as_bytes(std::span(record))};
    error = file->write(end, piece);
    end += aligned(record.size());
  }
  if (!error) error = file->sync();
  if (!error) error = disk_.rename(draft, settled_name(segment.number));
  if (!error) error = disk_.sync_directory();
  if (error) return error;
  segment.settled = std::move(file);
  segment.settled_end = end;
  segment.unwritten.clear();
  segment.settled_failed = segment.settled_dirty = false;
  return {};
}

std::error_code Journal::write_settles() {
  if (!unwritten_settles_) return {};
  disk_.pass(Instant::before_settle);
  std::error_code first;
  bool left = false;
  // Copies of the pointers: the disk is not written under the lock.
  std::vector<SegmentPtr> all;
  for (const auto& [number, segment] : segments_) all.push_back(segment);
  for (const SegmentPtr& segment : all) {
    if (segment->unwritten.empty()) continue;
    // Also of a segment that is about to be removed: until that has lasted, its events would come once more.
    if (const auto error = write_settles(*segment)) {
      if (!first) first = error;
      left = true;
      continue;
    }
    settles_dirty_ = true;
  }
  unwritten_settles_ = left;
  if (!first) disk_.pass(Instant::after_settle);
  return first;
}

std::error_code Journal::sync_settles() {
  std::vector<SettleSync> dirty;
  std::error_code first = begin_settle_sync(dirty);
  for (SettleSync& one : dirty) sync_settled(one);
  if (const auto error = end_settle_sync(dirty); error && !first) first = error;
  return first;
}

std::error_code Journal::begin_settle_sync(std::vector<SettleSync>& dirty) {
  std::error_code first = write_settles();
  if (const auto error = remove_unmade(); error && !first) first = error;
  if (!settles_dirty_) return first;
  for (const auto& [number, segment] : segments_) {
    // What is written from here on is the next sync's.
    if (std::exchange(segment->settled_dirty, false)) dirty.push_back({segment, segment->settled, {}});
  }
  settles_dirty_ = false;
  settles_syncing_ = !dirty.empty();
  return first;
}

std::error_code Journal::end_settle_sync(std::span<const SettleSync> synced) {
  settles_syncing_ = false;
  std::error_code first;
  for (const auto& [segment, file, error] : synced) {
    // Meanwhile it may have been removed with its segment, or was written anew, and synced.
    const auto at = segments_.find(segment->number);
    if (!error || at == segments_.end() || segment->settled != file) continue;
    segment->settled_failed = unwritten_settles_ = true;
    if (segment->unwritten.empty())
      segment->finished.each([&](std::uint64_t from, std::uint64_t count) { segment->unwritten.add(from, count); });
    if (!first) first = error;
  }
  return first;
}

// ---- removing

bool Journal::is_finished(const Segment& segment) const {
  return segment.finished.size() + segment.lost >= segment.events;
}

// Under mutex_.
Journal::Dependants Journal::find_dependants() const {
  Dependants found;
  for (const auto& [number, segment] : segments_) {
    if (!segment->sealed) found.unsealed.insert(segment->header.seed);
    if (!segment->absent.empty()) found.moved_from.push_back(segment.get());
  }
  return found;
}

// Others could come back to life without it: its copies' originals, if their segment is still there; what its
// predecessor had been answered "unknown" about, if nothing but this one's header says where that one ends. Under
// mutex_.
bool Journal::is_needed(const Segment& segment, const Dependants& dependants) {
  if (segment.header.kind == SegmentKind::taken) {
    return segment.header.predecessor != 0 && dependants.unsealed.contains(segment.header.predecessor_seed);
  }
  return std::ranges::any_of(dependants.moved_from, [&](const Segment* other) {
    bool holds = false;
    const bool newer = other->header.kind == SegmentKind::copies && other->number >= segment.number;
    if (newer || !(other->header.run == segment.header.run)) return false;
    other->absent.each_within(segment.first_sequence, segment.last_sequence + 1,
                              [&](std::uint64_t, std::uint64_t) { holds = true; });
    return holds;
  });
}

// Asked behind each commit: where nothing is finished it costs one look at each segment.
std::vector<Journal::SegmentPtr> Journal::find_finished() {
  std::vector<SegmentPtr> finished;
  const std::lock_guard lock(mutex_);
  normalize_cursor();
  for (const auto& [number, segment] : segments_) {
    if (segment != active_ && is_finished(*segment)) finished.push_back(segment);
  }
  if (finished.empty()) return finished;
  std::unordered_set<const Segment*> unfed;
  for (const SegmentPtr& segment : order_) unfed.insert(segment.get());
  const Dependants dependants = find_dependants();
  std::erase_if(finished, [&](const SegmentPtr& segment) {
    return unfed.contains(segment.get()) || is_needed(*segment, dependants);
  });
  return finished;
}

void Journal::maintain() {
  const bool pressed = pressed_.exchange(false);
  for (int rounds = 2; rounds > 0; --rounds) {
    const bool any = remove_finished();
    if (!pressed || failed() || any) return;
    // A refused producer does not ask again before there is room: so it is not forgotten.
    if (settles_syncing_ || config_.now() < copy_due_) return pressed_.store(true);
    bool copied = false;
    const std::error_code error = copy_forward(copied);
    if (error) {
      log(LogLevel::warn, fmt::format("unfinished events could not be copied forward: {}", error.message()));
      copy_backoff_ = std::clamp(2 * copy_backoff_, config_.pace.least_backoff, config_.pace.most_backoff);
      copy_due_ = config_.now() + copy_backoff_;
      return pressed_.store(true);
    }
    if (!copied) return;
    copy_backoff_ = {};
  }
}

bool Journal::remove_finished() {
  bool any = false;
  while (remove(find_finished())) any = true;  // when an original is gone, its copies may go
  return any;
}

// True if any is gone.
bool Journal::remove(const std::vector<SegmentPtr>& finished) {
  if (finished.empty() || remove_unmade()) return false;
  disk_.pass(Instant::before_unlink);
  std::vector<SegmentPtr> removed;
  for (const SegmentPtr& segment : finished) {
    std::error_code error;
    if (segment->damaged) {
      error = disk_.rename(segment_name(segment->number), damaged_name(segment->number));
    } else {
      error = disk_.unlink(segment_name(segment->number));
    }
    // What is still there must keep its settles, and its room: it is tried again. Somebody else's removing will do.
    if (error && error != std::errc::no_such_file_or_directory) continue;
    if (segment->damaged && !error) {
      log(LogLevel::warn, fmt::format("a damaged segment is set aside file={}", damaged_name(segment->number)));
    }
    removed.push_back(segment);
  }
  // Only when the segment is gone for good: without its settles, or its copies, it would come back to life.
  if (removed.empty() || disk_.sync_directory()) return false;
  disk_.pass(Instant::after_unlink);
  for (const SegmentPtr& segment : removed) {
    static_cast<void>(disk_.unlink(settled_name(segment->number)));
    charge(*segment, 0);
    const std::lock_guard lock(mutex_);
    segments_.erase(segment->number);
    count_.store(segments_.size());
    // All that moved there is finished, so nobody will ask any more where it is.
    for (auto& [home, redirects] : redirects_) {
      std::erase_if(redirects, [&](const Redirect& one) { return one.to == segment->number; });
    }
    std::erase_if(redirects_, [](const auto& entry) { return entry.second.empty(); });
  }
  return !removed.empty();
}

}  // namespace sluice::journal
