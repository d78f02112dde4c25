// How a run takes over what earlier ones left, as the survey has judged it. A journal of another version is refused
// before anything is changed. How unsealed segments end is in tails.cc. What is delivered on a disk that takes no
// settles comes once more at the next start.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "journal/journal.h"
#include "journal/named_lock.h"
#include "journal/survey.h"
#include "sluice/error.h"

namespace sluice::journal {

// Removes what never held anything, sets aside what cannot be read. How many events are lost with that, at least.
std::uint64_t Journal::clear_away(const Survey& found) {
  std::uint64_t lost = 0;
  for (const std::string& draft : found.drafts) static_cast<void>(disk_.unlink(draft));
  std::vector<std::uint64_t> remaining;
  for (const Surveyed& one : found.segments) {
    const std::string name = segment_name(one.number);
    switch (one.is) {
      case Surveyed::Is::newer:  // was refused
      case Surveyed::Is::segment:
        remaining.push_back(one.number);
        break;
      case Surveyed::Is::unmade:
        static_cast<void>(disk_.unlink(name));
        break;
      case Surveyed::Is::unreadable:
      case Surveyed::Is::duplicate: {
        const std::string reason = one.is == Surveyed::Is::unreadable
                                       ? "no header fits"
                                       : fmt::format("it is a copy of {}", segment_name(one.original));
        log(LogLevel::error,
            fmt::format("the journal is damaged segment={} offset=0 bytes={} reason=\"{}\"", name, one.size, reason));
        if (disk_.rename(name, damaged_name(one.number))) remaining.push_back(one.number);
        if (one.is == Surveyed::Is::duplicate && !one.mutilated) break;
        ++lost;  // how many events it held, nobody knows: it stands for one at least
        break;
      }
    }
  }
  // Settles go only when their segment is gone for good.
  if (disk_.sync_directory()) return lost;
  for (const std::uint64_t number : found.settled) {
    if (!std::ranges::binary_search(remaining, number)) static_cast<void>(disk_.unlink(settled_name(number)));
  }
  return lost;
}

void Journal::report(const Surveyed& one) const {
  const std::string name = segment_name(one.number);
  for (const std::uint64_t offset : one.found.broken) {
    log(LogLevel::error, fmt::format("the journal is damaged segment={} offset={} bytes={} reason=\"{}\"", name, offset,
                                     kHeaderSize, one.found.headless() ? "its headers" : "one header of two"));
  }
  for (const Hole& hole : one.scan.holes) {
    if (hole.torn) {
      log(LogLevel::warn, fmt::format("the end of a segment was cut short segment={} offset={} bytes={}", name,
                                      hole.offset, hole.size));
    } else {
      log(LogLevel::error,
          fmt::format("the journal is damaged segment={} offset={} bytes={}", name, hole.offset, hole.size));
    }
  }
  for (const Hole& hole : one.settled.holes) {
    log(LogLevel::warn,
        fmt::format("settles are damaged, what they finished comes once more segment={} offset={} bytes={}",
                    settled_name(one.number), hole.offset, hole.size));
  }
}

Journal::SegmentPtr Journal::adopt(Surveyed& one) {
  auto segment = std::make_shared<Segment>(one.number, one.header());
  segment->file = std::move(one.file);
  segment->settled = std::move(one.settled_file);
  // Without one, settles stay in memory until it can be made.
  if (!segment->settled) {
    std::unique_ptr<DiskFile> settled;
    segment->settled_failed = bool{disk_.open(settled_name(one.number), Disk::Open::create, settled)};
    segment->settled = std::move(settled);
  }
  segment->size = one.size;
  segment->made_size = one.found.made_size;
  segment->settled_size = one.settled_size;
  segment->settled_end = one.settled.end;
  // Perhaps only the kernel has them; the next sync of settles is theirs as well.
  segment->settled_dirty = !one.settled.set.empty();
  settles_dirty_ = settles_dirty_ || segment->settled_dirty;
  segment->unwritten = one.inherited;
  unwritten_settles_ = unwritten_settles_ || !one.inherited.empty();

  segment->unreadable.store(one.scan.around);
  unreadable_.fetch_add(one.scan.unreadable + one.settled.unreadable);
  // It is written anew, elsewhere, with the next settles.
  if (one.settled.unreadable > 0) segment->settled_failed = true;
  segment->scanned = one.scanned;
  segment->sealed = one.scanned ? one.scan.footer.has_value() : true;
  segment->damaged = one.damaged;
  segment->events = one.events;
  segment->absent = one.absent;
  segment->finished = one.finished;
  segment->skip = one.finished;
  segment->skip.add(one.absent);
  segment->unfed = one.events - std::min(one.events, one.finished.size());
  if (one.scanned) {
    const Scan& seen = one.scan;
    // What was synced and is broken, or was cut off, must be missed at the next start too.
    segment->end = segment->acknowledged_end = seen.footer ? seen.end : std::max(seen.end, seen.synced);
    segment->synced = seen.footer ? seen.end : seen.synced;
    segment->recorded = segment->synced_events = seen.synced_events;
    segment->synced_last = seen.synced_last;
    segment->first_sequence = seen.first_sequence;
    segment->last_sequence = seen.last_sequence;
    segment->commits = seen.commits;
  } else {
    segment->end = segment->acknowledged_end = segment->synced = one.footer->offset;
    segment->recorded = segment->synced_events = one.footer->events;
    segment->synced_last = one.footer->last_sequence;
    segment->first_sequence = one.footer->first_sequence;
    segment->last_sequence = one.footer->last_sequence;
    segment->commits = one.footer->commits;
  }
  if (may_be_sealed(one)) {
    segment->seal_at = segment->synced;
    segment->has_tails = one.tail_room > 0;
    segment->whole_tail = one.scan.holes.empty() && one.scan.absent.empty();
    segment->tail_events = one.scan.tail.size();
    segment->tail_commits = one.scan.commits - one.scan.synced_commits;
    segment->commits = one.scan.synced_commits;
  }
  charge(*segment, segment->acknowledged_end + segment->events * kSettleBytes);
  charge_physical(*segment);
  return segment;
}

// In the order of feeding, but not before what is being fed at this moment. Under mutex_.
void Journal::take_turn(const SegmentPtr& segment) {
  if (!taken_over_) return;  // the order is made when all of them are known
  normalize_cursor();
  auto at = order_.begin();
  if (at != order_.end()) ++at;
  while (at != order_.end() && turn_of(**at) < turn_of(*segment)) ++at;
  order_.insert(at, segment);
}

// Nothing of it is changed before all of it was read. An error is the disk's that took no copy of a tail; a StartError
// says why nothing is known.
std::error_code Journal::take_over() {
  if (const auto error = disk_.hold()) {
    if (is_taken(error)) throw StartError(StartError::Kind::in_use, "journal: held by another process");
    throw StartError(StartError::Kind::io, fmt::format("journal: {}", error.message()));
  }
  Survey found = survey(disk_, Disk::Open::write, Look::quick);
  for (const Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::newer) continue;
    throw StartError(StartError::Kind::unusable,
                     fmt::format("journal: {} is of version {}, this program reads up to {}", segment_name(one.number),
                                 one.header().version, kVersion));
  }
  disk_.pass(Instant::at_recovery);
  for (const auto* const numbers : {&found.set_aside, &found.settled}) {
    for (const std::uint64_t number : *numbers) next_number_ = std::max(next_number_, number + 1);
  }
  for (const Surveyed& one : found.segments) next_number_ = std::max(next_number_, one.number + 1);
  const std::uint64_t lost = clear_away(found);
  for (Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::segment) continue;
    report(one);
    ordinal_ = std::max(ordinal_, one.header().ordinal + 1);
    const SegmentPtr segment = adopt(one);
    if (one.scanned && !one.scan.footer) withhold_tail(*segment, one.scan.tail);
    const std::lock_guard lock(mutex_);
    enter(segment);
  }
  const std::error_code error = secure_tails();
  if (!error) seal_earlier();
  std::deque<SegmentPtr> order;
  for (const auto& [number, segment] : segments_) order.push_back(segment);
  std::ranges::sort(order, [](const SegmentPtr& a, const SegmentPtr& b) { return turn_of(*a) < turn_of(*b); });
  replayed_ = lost;
  for (const SegmentPtr& segment : order) {
    replayed_ += segment->events - std::min(segment->events, segment->finished.size());
  }
  if (config_.taken_over) config_.taken_over(replayed_);
  const std::lock_guard lock(mutex_);
  late_lost_ += lost;
  order_ = std::move(order);
  taken_over_ = true;
  return error;
}

// The disk could not be read at the start, and perhaps can be now.
std::error_code Journal::take_over_late() {
  try {
    return take_over();
  } catch (const StartError& refused) {
    fail_because(refused.what());
    return std::make_error_code(std::errc::io_error);
  }
}

// The segment that one of this run's must name, so that what it was answered "unknown" about stays out.
Journal::SegmentPtr Journal::last_of_earlier_runs() const {
  SegmentPtr last;
  for (const auto& [number, segment] : segments_) {
    if (segment->header.kind == SegmentKind::taken && segment->header.ordinal < ordinal_) last = segment;
  }
  return last;
}

}  // namespace sluice::journal
