// See the header.
#include "journal/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "journal/named_lock.h"
#include "journal/survey.h"
#include "sluice/error.h"

namespace sluice::journal {

void Recovery::hold() const {
  const std::error_code error = context_.disk.hold();
  if (!error) return;
  if (is_taken(error)) throw StartError(StartError::Kind::in_use, "journal: held by another process");
  throw StartError(StartError::Kind::io, fmt::format("journal: {}", error.message()));
}

void Recovery::refuse_other_versions(const Survey& found) const {
  for (const Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::newer) continue;
    throw StartError(StartError::Kind::unusable,
                     fmt::format("journal: {} is of version {}, this program reads up to {}", segment_name(one.number),
                                 one.header().version, kVersion));
  }
}

// Nothing is changed before all of it was read.
std::error_code Recovery::take_over() {
  hold();
  Survey found = survey(context_.disk, Disk::Open::write, Look::quick);
  refuse_other_versions(found);
  context_.disk.pass(Instant::at_recovery);
  for (const auto* const numbers : {&found.set_aside, &found.settled}) {
    for (const std::uint64_t number : *numbers) maker_.come_after(number);
  }
  for (const Surveyed& one : found.segments) maker_.come_after(one.number);
  const std::uint64_t lost = clear_away(found);
  for (Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::segment) continue;
    report(one);
    table_.come_after(one.header().ordinal);
    const SegmentPtr segment = adopt(one);
    if (one.scanned && !one.scan.footer) Tails::withhold(*segment, one.scan.tail);
    const std::lock_guard lock(table_.mutex());
    table_.enter(segment);
  }
  const std::error_code error = tails_.secure();
  if (!error) tails_.seal_all();
  std::vector<SegmentPtr> order = table_.in_order();
  replayed_ = lost;
  for (const SegmentPtr& segment : order) replayed_ += segment->feed.unfinished();
  if (context_.config.taken_over) context_.config.taken_over(replayed_);
  const std::lock_guard lock(table_.mutex());
  cursor_.add_lost(lost);
  cursor_.begin(std::move(order));
  return error;
}

std::error_code Recovery::take_over_late() {
  try {
    return take_over();
  } catch (const StartError& refused) {
    health_.fail_because(refused.what());
    return std::make_error_code(std::errc::io_error);
  }
}

// Removes what never held anything, sets aside what cannot be read. At least so many events are lost with that.
std::uint64_t Recovery::clear_away(const Survey& found) {
  std::uint64_t lost = 0;
  for (const std::string& draft : found.drafts) static_cast<void>(context_.disk.unlink(draft));
  std::vector<std::uint64_t> remaining;
  for (const Surveyed& one : found.segments) {
    switch (one.is) {
      case Surveyed::Is::newer:  // was refused
      case Surveyed::Is::segment:
        remaining.push_back(one.number);
        break;
      case Surveyed::Is::unmade:
        static_cast<void>(context_.disk.unlink(segment_name(one.number)));
        break;
      case Surveyed::Is::unreadable:
      case Surveyed::Is::duplicate:
        if (!set_aside(one)) remaining.push_back(one.number);
        if (one.is == Surveyed::Is::duplicate && !one.mutilated) break;
        ++lost;  // nobody knows how many events it held: it counts as one at least
        break;
    }
  }
  // Settle files are removed only when their segment is gone for good.
  if (context_.disk.sync_directory()) return lost;
  for (const std::uint64_t number : found.settled) {
    if (!std::ranges::binary_search(remaining, number)) static_cast<void>(context_.disk.unlink(settled_name(number)));
  }
  return lost;
}

bool Recovery::set_aside(const Surveyed& one) {
  const std::string name = segment_name(one.number);
  const std::string reason = one.is == Surveyed::Is::unreadable
                                 ? "no header fits"
                                 : fmt::format("it is a copy of {}", segment_name(one.original));
  context_.log(LogLevel::error, fmt::format("the journal is damaged segment={} offset=0 bytes={} reason=\"{}\"", name,
                                            one.size, reason));
  return !context_.disk.rename(name, damaged_name(one.number));
}

void Recovery::report(const Surveyed& one) const {
  const std::string name = segment_name(one.number);
  for (const std::uint64_t offset : one.found.broken) {
    context_.log(LogLevel::error,
                 fmt::format("the journal is damaged segment={} offset={} bytes={} reason=\"{}\"", name, offset,
                             kHeaderSize, one.found.headless() ? "its headers" : "one header of two"));
  }
  for (const Hole& hole : one.scan.holes) {
    if (hole.torn) {
      context_.log(LogLevel::warn, fmt::format("the end of a segment was cut short segment={} offset={} bytes={}", name,
                                               hole.offset, hole.size));
    } else {
      context_.log(LogLevel::error,
                   fmt::format("the journal is damaged segment={} offset={} bytes={}", name, hole.offset, hole.size));
    }
  }
  for (const Hole& hole : one.settled.holes) {
    context_.log(LogLevel::warn,
                 fmt::format("settles are damaged, what they finished comes once more segment={} offset={} bytes={}",
                             settled_name(one.number), hole.offset, hole.size));
  }
}

SegmentPtr Recovery::adopt(Surveyed& one) {
  auto segment = std::make_shared<Segment>(one.number, one.header());
  segment->file = std::move(one.file);
  segment->settles.adopt(context_.disk, one.number, std::move(one.settled_file), one.settled, one.settled_size,
                         one.inherited);
  settles_.adopted(*segment);
  segment->written.size = one.size;
  segment->written.made_size = one.found.made_size;
  segment->unreadable.store(one.scan.around);
  health_.add_unreadable(one.scan.unreadable + one.settled.unreadable);
  FeedState& feed = segment->feed;
  feed.scanned = one.scanned;
  feed.damaged = one.damaged;
  feed.events = one.events;
  feed.absent = one.absent;
  feed.finished = one.finished;
  feed.skip = one.finished;
  feed.skip.add(one.absent);
  feed.unfed = feed.unfinished();
  adopt_extent(*segment, one);
  Tails::plan_seal(*segment, one);
  budget_.charge(*segment, segment->written.acknowledged_end + feed.events * kSettleBytes);
  budget_.charge_physical(*segment);
  return segment;
}

// How far it is written and synced: as the scan has found, or as its footer says.
void Recovery::adopt_extent(Segment& segment, const Surveyed& one) {
  Written& written = segment.written;
  written.sealed = one.scanned ? one.scan.footer.has_value() : true;
  if (one.scanned) {
    const Scan& seen = one.scan;
    // Synced bytes that are broken, or were cut off, must be missed at the next start too.
    segment.feed.end = written.acknowledged_end = seen.footer ? seen.end : std::max(seen.end, seen.synced);
    written.synced = seen.footer ? seen.end : seen.synced;
    written.recorded = written.synced_events = seen.synced_events;
    written.synced_last = seen.synced_last;
    written.first_sequence = seen.first_sequence;
    written.last_sequence = seen.last_sequence;
    written.commits = seen.commits;
  } else {
    segment.feed.end = written.acknowledged_end = written.synced = one.footer->offset;
    written.recorded = written.synced_events = one.footer->events;
    written.synced_last = one.footer->last_sequence;
    written.first_sequence = one.footer->first_sequence;
    written.last_sequence = one.footer->last_sequence;
    written.commits = one.footer->commits;
  }
}

}  // namespace sluice::journal
