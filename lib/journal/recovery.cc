// How a run takes over what earlier ones left, as the survey has judged it. What it finds behind the offset that was
// synced last it writes anew, synced, before anybody gets to see it: the kernel may hold pages that no disk has, and
// half of a request that was handed out must not vanish in the next power cut. A journal of a newer version is refused
// before anything is changed.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "journal/journal.h"
#include "journal/survey.h"
#include "sluice/error.h"

namespace sluice::journal {

namespace {

[[noreturn]] void refuse(std::string_view step, const std::string& name, std::error_code error) {
  throw StartError(StartError::Kind::io, fmt::format("{} {}: {}", step, name, error.message()));
}

}  // namespace

// Removes what never held anything, sets aside what cannot be read.
void Journal::clear_away(const Survey& found) {
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
        // How many events it held, nobody knows: it stands for one at least.
        ++replayed_;
        ++late_lost_;
        break;
      }
    }
  }
  // Settles go only when their segment is gone for good.
  if (disk_.sync_directory()) return;
  for (const std::uint64_t number : found.settled) {
    if (!std::ranges::binary_search(remaining, number)) static_cast<void>(disk_.unlink(settled_name(number)));
  }
}

void Journal::report(const Surveyed& one) const {
  const std::string name = segment_name(one.number);
  if (one.found.broken_at) {
    log(LogLevel::error,
        fmt::format("the journal is damaged segment={} offset={} bytes={} reason=\"one header of two\"", name,
                    *one.found.broken_at, kHeaderSize));
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
  const std::string name = settled_name(one.number);
  if (!segment->settled) {
    if (const auto error = disk_.open(name, Disk::Open::create, segment->settled)) refuse("create", name, error);
  }
  segment->size = one.size;
  segment->settled_size = one.settled_size;
  segment->settled_end = one.settled.end;
  // Perhaps only the kernel has them; the next sync of settles is theirs as well.
  segment->settled_dirty = !one.settled.set.empty();
  settles_dirty_ = settles_dirty_ || segment->settled_dirty;
  segment->unwritten = one.inherited;
  unwritten_settles_ = unwritten_settles_ || !one.inherited.empty();

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
  segment->charged = segment->acknowledged_end + segment->events * kSettleBytes;
  taken_.fetch_add(segment->charged);
  return segment;
}

void Journal::take_over() {
  if (const auto error = disk_.hold()) {
    const auto kind = error == std::errc::operation_would_block ? StartError::Kind::in_use : StartError::Kind::io;
    throw StartError(kind, fmt::format("journal: {}", error.message()));
  }
  Survey found = survey(disk_, Disk::Open::write, Look::quick);
  for (const Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::newer) continue;
    throw StartError(StartError::Kind::unusable, fmt::format("journal: {} is of version {}, this program reads {}",
                                                             segment_name(one.number), one.header().version, kVersion));
  }
  disk_.pass(Instant::at_recovery);
  for (const auto* const numbers : {&found.set_aside, &found.settled}) {
    for (const std::uint64_t number : *numbers) next_number_ = std::max(next_number_, number + 1);
  }
  for (const Surveyed& one : found.segments) next_number_ = std::max(next_number_, one.number + 1);
  clear_away(found);
  for (Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::segment) continue;
    report(one);
    ordinal_ = std::max(ordinal_, one.header().ordinal + 1);
    segments_[one.number] = adopt(one);
  }
  for (const Surveyed& one : found.segments) {
    if (one.is != Surveyed::Is::segment || !one.scanned || one.scan.footer) continue;
    rewrite_tail(segments_.at(one.number), one.scan.tail);
  }
  for (const auto& [number, segment] : segments_) order_.push_back(segment);
  // By what is in them: under Ack::queued a segment's header is older than many an event that never came to it.
  std::ranges::sort(order_, [](const SegmentPtr& a, const SegmentPtr& b) {
    return std::tuple(a->header.ordinal, a->first_sequence, a->number) <
           std::tuple(b->header.ordinal, b->first_sequence, b->number);
  });
  for (const SegmentPtr& segment : order_) {
    replayed_ += segment->events - std::min(segment->events, segment->finished.size());
  }
  // It says where the one before it ends, so that what it was answered "unknown" about stays out.
  SegmentPtr before;
  for (const auto& [number, segment] : segments_) {
    if (segment->header.kind == SegmentKind::taken) before = segment;
  }
  if (const auto error = begin_segment(0, next_sequence_, before.get())) {
    refuse("begin", segment_name(next_number_ - 1), error);
  }
  maintain();
}

}  // namespace sluice::journal
