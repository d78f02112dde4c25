// See the header.
#include "journal/rescue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <mutex>
#include <utility>

#include "journal/event_reader.h"

namespace sluice::journal {

std::error_code Rescue::recover(UnsyncedEvents& unsynced) {
  assert(health_.failed());
  if (const auto error = context_.disk.hold()) return error;
  // The copies made here leave finished events behind. If their settles were not on disk, these events would come again
  // at the next start, out of order. A disk that refuses the settles does not stop the recovery.
  if (!settles_.syncing()) static_cast<void>(settles_.sync());
  if (const auto error = cursor_.begun() ? tails_.secure() : recovery_.take_over_late()) return error;
  tails_.seal_all();
  const bool was_active = table_.active() != nullptr;
  const SegmentPtr old = was_active ? table_.active() : table_.last_of_earlier_runs();
  if (was_active) {
    if (const auto error = move_unsynced(unsynced, old)) return error;
  }
  // Unlinked files can still be read through their descriptors, and nowhere else.
  std::vector<SegmentPtr> removed;
  if (const auto error = find_removed(removed)) return error;
  for (const SegmentPtr& segment : removed) {
    if (const auto error = write_anew(segment)) return error;
  }
  if (const auto error = writer_.begin(old.get())) return error;
  if (was_active) writer_.cut_failed(*old);
  health_.mend();
  return {};
}

std::error_code Rescue::find_removed(std::vector<SegmentPtr>& removed) const {
  std::error_code first;
  for (const auto& [number, segment] : table_.all()) {
    DiskFile::Stat stat;
    if (const auto error = segment->file->stat(stat)) {
      if (!first) first = error;
    } else if (stat.links == 0) {
      removed.push_back(segment);
    }
  }
  return first;
}

std::error_code Rescue::look_for_names() {
  if (health_.failed()) return {};  // recover() looks
  std::vector<SegmentPtr> removed;
  const std::error_code unknown = find_removed(removed);
  for (const SegmentPtr& segment : removed) {
    const auto gone = std::make_error_code(std::errc::no_such_file_or_directory);
    if (segment == table_.active()) return health_.fail("look for " + segment_name(segment->number), gone);
    {
      const std::lock_guard lock(table_.mutex());
      if (segment->feed.is_finished()) continue;
    }
    context_.log(LogLevel::error, fmt::format("somebody has removed {}, its unfinished events are written anew",
                                              segment_name(segment->number)));
    if (const auto error = context_.disk.hold()) return health_.fail("hold the journal's directory", error);
    if (const auto error = write_anew(segment)) {
      return health_.fail("write anew " + segment_name(segment->number), error);
    }
  }
  return unknown;
}

std::uint64_t Rescue::nameless() const {
  std::vector<SegmentPtr> removed;
  static_cast<void>(find_removed(removed));
  const std::lock_guard lock(table_.mutex());
  std::uint64_t events = cursor_.lost();
  for (const SegmentPtr& segment : removed) {
    const FeedState& feed = segment->feed;
    events += feed.events - std::min(feed.events, feed.finished.size() + feed.lost);
  }
  return events;
}

// Unfinished events that were committed and not synced go from the segment that failed into one of their own.
std::error_code Rescue::move_unsynced(UnsyncedEvents& unsynced, const SegmentPtr& old) {
  std::vector<Record> events;
  Extent most;
  IntervalSet moved;
  unsynced.add_records(old->number, events);
  std::erase_if(events, [&](const Record& event) {
    return event.sequence <= old->written.synced_last || old->feed.finished.contains(event.sequence);
  });
  for (const Record& event : events) {
    most.add(record_bytes(event));
    moved.add(event.sequence, 1);
  }
  std::ranges::sort(events, {}, &Record::sequence);
  SegmentPtr copies;
  const Rewriter::Source source = [&, next = events.begin()](std::error_code&) mutable {
    return next == events.end() ? std::nullopt : std::optional(*next++);
  };
  if (const auto error =
          rewriter_.write(SegmentKind::copies, context_.config.run, table_.ordinal(), most, source, copies)) {
    return error;
  }
  if (!copies) return {};
  context_.disk.pass(Instant::after_copy);
  const std::lock_guard lock(table_.mutex());
  table_.move(*old, moved, copies);
  moved.each([&](std::uint64_t first, std::uint64_t count) {
    const std::uint64_t fed_to = std::min(first + count, cursor_.fed_sequence() + 1);
    if (fed_to > first) copies->feed.skip.add(first, fed_to - first);
  });
  copies->feed.unfed = moved.size() - copies->feed.skip.size();
  old->feed.unfed -= std::min(old->feed.unfed, copies->feed.unfed);
  cursor_.append(copies);
  // At once: if what follows fails, the next attempt must not copy them a second time.
  unsynced.moved(old->number, copies->number);
  return {};
}

// Copies the unfinished events of a segment that has no name any more. The copies take its turn.
std::error_code Rescue::write_anew(const SegmentPtr& from) {
  std::uint64_t fed_to = 0;
  {
    const std::lock_guard lock(table_.mutex());
    fed_to = cursor_.fed_to(from);
  }
  IntervalSet moved;
  IntervalSet fed;
  SegmentPtr copies;
  if (const auto error = copy_unfinished(from, fed_to, moved, fed, copies)) return error;
  FeedState& feed = from->feed;
  const std::lock_guard lock(table_.mutex());
  if (copies) {
    fed.add(moved.common(feed.skip));  // the feeder went on meanwhile
    copies->feed.skip = std::move(fed);
    copies->feed.unfed = moved.size() - copies->feed.skip.size();
    feed.unfed -= std::min(feed.unfed, copies->feed.unfed);
    table_.move(*from, moved, copies);
  }
  // Broken events are nowhere else, and nobody will read them again.
  const std::uint64_t known = feed.finished.size() + feed.lost;
  if (feed.events > known) {
    cursor_.add_lost(feed.events - known);
    feed.lost = feed.events - feed.finished.size();
    feed.unfed = 0;
  }
  if (copies) cursor_.replace(from, copies);
  return {};
}

std::error_code Rescue::copy_unfinished(const SegmentPtr& from, std::uint64_t fed_to, IntervalSet& moved,
                                        IntervalSet& fed, SegmentPtr& copies) {
  const FeedState& feed = from->feed;
  EventReader reading(*from, kFirstCommit, from->written.acknowledged_end);
  const Rewriter::Source source = [&](std::error_code& error) {
    std::uint64_t at = 0;
    const auto event = reading.next([&](std::uint64_t sequence, std::uint64_t offset) {
      at = offset;
      return !feed.finished.contains(sequence) && !feed.absent.contains(sequence);
    });
    error = reading.error();
    if (event) {
      moved.add(event->sequence, 1);
      const std::lock_guard lock(table_.mutex());
      if (at < fed_to || feed.skip.contains(event->sequence)) fed.add(event->sequence, 1);
    }
    return event;
  };
  return rewriter_.write(SegmentKind::copies, from->header.run, from->header.ordinal, {from->content(), feed.events},
                         source, copies);
}

}  // namespace sluice::journal
