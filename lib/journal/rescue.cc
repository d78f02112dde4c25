// How a journal that has failed goes on, and what becomes of events whose files somebody has removed: they are written
// anew, under their own ids, out of memory or through descriptors that are still open. The committer's thread.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "journal/event_reader.h"
#include "journal/journal.h"

namespace sluice::journal {

std::error_code Journal::recover(UnsyncedEvents& unsynced) {
  assert(failed());
  if (const auto error = disk_.hold()) return error;
  // The copies made here leave finished events behind. If their settles were not on disk, these events would come again
  // at the next start, out of order. A disk that refuses the settles does not stop the recovery.
  if (!settles_syncing_) static_cast<void>(sync_settles());
  if (const auto error = taken_over_ ? secure_tails() : take_over_late()) return error;
  seal_earlier();
  const SegmentPtr old = active_ ? active_ : last_of_earlier_runs();
  if (active_) {
    if (const auto error = move_unsynced(unsynced, active_)) return error;
  }
  // What the files held that somebody removed is still to be read through their descriptors, and nowhere else.
  std::vector<SegmentPtr> removed;
  if (const auto error = find_removed(removed)) return error;
  for (const SegmentPtr& segment : removed) {
    if (const auto error = rescue(segment)) return error;
  }
  const bool was_active = old && old == active_;
  if (const auto error = begin_segment(0, next_sequence_, old.get())) return error;
  if (was_active) cut_failed(*old);
  failed_.store(false);
  log(LogLevel::warn, "the journal works again");
  return {};
}

std::error_code Journal::find_removed(std::vector<SegmentPtr>& removed) const {
  std::error_code first;
  for (const auto& [number, segment] : segments_) {
    DiskFile::Stat stat;
    if (const auto error = segment->file->stat(stat)) {
      if (!first) first = error;
    } else if (stat.links == 0) {
      removed.push_back(segment);
    }
  }
  return first;
}

std::error_code Journal::look_for_names() {
  if (failed()) return {};  // recover() looks
  std::vector<SegmentPtr> removed;
  const std::error_code unknown = find_removed(removed);
  for (const SegmentPtr& segment : removed) {
    const auto gone = std::make_error_code(std::errc::no_such_file_or_directory);
    if (segment == active_) return fail("look for " + segment_name(segment->number), gone);
    {
      const std::lock_guard lock(mutex_);
      if (is_finished(*segment)) continue;
    }
    log(LogLevel::error,
        fmt::format("somebody has removed {}, its unfinished events are written anew", segment_name(segment->number)));
    if (const auto error = disk_.hold()) return fail("hold the journal's directory", error);
    if (const auto error = rescue(segment)) return fail("write anew " + segment_name(segment->number), error);
  }
  return unknown;
}

std::uint64_t Journal::nameless() const {
  std::vector<SegmentPtr> removed;
  static_cast<void>(find_removed(removed));
  const std::lock_guard lock(mutex_);
  std::uint64_t events = late_lost_;
  for (const SegmentPtr& segment : removed) {
    events += segment->events - std::min(segment->events, segment->finished.size() + segment->lost);
  }
  return events;
}

// What was committed and not synced, and is not finished, goes from the segment that failed into one of its own.
std::error_code Journal::move_unsynced(UnsyncedEvents& unsynced, const SegmentPtr& old) {
  std::vector<Record> events;
  Extent most;
  IntervalSet moved;
  unsynced.add_records(old->number, events);
  std::erase_if(events, [&](const Record& event) {
    return event.sequence <= old->synced_last || old->finished.contains(event.sequence);
  });
  for (const Record& event : events) {
    most.add(record_bytes(event));
    moved.add(event.sequence, 1);
  }
  std::ranges::sort(events, {}, &Record::sequence);
  SegmentPtr copies;
  const Source source = [&, next = events.begin()](std::error_code&) mutable {
    return next == events.end() ? std::nullopt : std::optional(*next++);
  };
  if (const auto error = write_closed(SegmentKind::copies, config_.run, ordinal_, most, source, copies)) return error;
  if (!copies) return {};
  disk_.pass(Instant::after_copy);
  const std::lock_guard lock(mutex_);
  copy_of(*old, moved, copies);
  moved.each([&](std::uint64_t first, std::uint64_t count) {
    const std::uint64_t fed_to = std::min(first + count, fed_sequence_ + 1);
    if (fed_to > first) copies->skip.add(first, fed_to - first);
  });
  copies->unfed = moved.size() - copies->skip.size();
  old->unfed -= std::min(old->unfed, copies->unfed);
  order_.push_back(copies);
  // At once: if what follows fails, the next attempt must not copy them a second time.
  unsynced.moved(old->number, copies->number);
  return {};
}

// Writes what is unfinished in a segment that has no name any more into one that has, which takes its turn as well.
std::error_code Journal::rescue(const SegmentPtr& from) {
  std::uint64_t fed_to = UINT64_MAX;  // events before this offset were fed
  {
    const std::lock_guard lock(mutex_);
    normalize_cursor();
    const auto place = std::ranges::find(order_, from);
    if (place != order_.end()) fed_to = place == order_.begin() ? cursor_ : 0;
  }
  IntervalSet moved;
  IntervalSet fed;
  EventReader reading(*from, kFirstCommit, from->acknowledged_end);
  const Source source = [&](std::error_code& error) {
    std::uint64_t at = 0;
    const auto event = reading.next([&](std::uint64_t sequence, std::uint64_t offset) {
      at = offset;
      return !from->finished.contains(sequence) && !from->absent.contains(sequence);
    });
    error = reading.error();
    if (event) {
      moved.add(event->sequence, 1);
      const std::lock_guard lock(mutex_);
      if (at < fed_to || from->skip.contains(event->sequence)) fed.add(event->sequence, 1);
    }
    return event;
  };
  SegmentPtr copies;
  if (const auto error = write_closed(SegmentKind::copies, from->header.run, from->header.ordinal,
                                      {from->acknowledged_end - kFirstCommit, from->events}, source, copies)) {
    return error;
  }
  const std::lock_guard lock(mutex_);
  if (copies) {
    fed.add(moved.common(from->skip));  // the feeder went on meanwhile
    copies->skip = std::move(fed);
    copies->unfed = moved.size() - copies->skip.size();
    from->unfed -= std::min(from->unfed, copies->unfed);
    copy_of(*from, moved, copies);
  }
  // What is broken there stands nowhere else, and nobody will read it again.
  const std::uint64_t known = from->finished.size() + from->lost;
  if (from->events > known) {
    late_lost_ += from->events - known;
    from->lost = from->events - from->finished.size();
    from->unfed = 0;
  }
  if (!copies) return {};
  const auto place = std::ranges::find(order_, from);
  if (place == order_.end()) return {};
  const bool at_cursor = place == order_.begin();
  if (from == active_) {
    // The active one stays until another is: what is behind the cursor in it is skipped. Behind the copies stands what
    // was not synced in it.
    order_.insert(std::next(place), copies);
    if (at_cursor) cursor_ = active_->end;
  } else {
    if (at_cursor) cursor_ = kFirstCommit;
    *place = copies;
  }
  return {};
}

}  // namespace sluice::journal
