// How the unsealed segments of earlier runs end. What stands behind the offset that was synced last is written anew,
// synced, before anybody gets to see it: the kernel may hold pages that no disk has, and half of a request that was
// handed out must not vanish in the next power cut. It is written anew as a segment of its own, which takes room of the
// disk and of the limit. Where the limit is in the way, what is delivered makes room. On a full disk, or if nothing
// else is left to deliver, it is written anew where it stands: that takes no room, but a write that fails there may
// destroy the only copy. Until it is secured it is withheld: it counts as taken over and as kept, it is not delivered,
// and recover() tries again. All else that can be read is delivered meanwhile; so a request is never delivered in part,
// nor in two shapes.
//
// Then the segment is sealed, and cut to what it holds: runs that end as soon as they have begun must not leave the
// room of a full segment each. The committer's thread, or the one that starts.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "journal/event_reader.h"
#include "journal/journal.h"
#include "journal/survey.h"
#include "journal/tail_copy.h"

namespace sluice::journal {

void Journal::withhold_tail(Segment& segment, const IntervalSet& tail) {
  segment.withheld = tail.without(segment.finished).without(segment.absent);
  if (segment.withheld.empty()) return;
  segment.end = segment.synced;
  segment.unfed -= std::min(segment.unfed, segment.withheld.size());
}

// All that is withheld is made sure of, and takes its turn; or stays withheld.
std::error_code Journal::secure_tails() {
  waits_for_room_.store(false);
  remove_finished();
  std::vector<SegmentPtr> held;
  bool more_room_may_come = false;
  for (const auto& [number, segment] : segments_) {
    if (!segment->withheld.empty()) {
      held.push_back(segment);
    } else {
      more_room_may_come = more_room_may_come || !is_finished(*segment);
    }
  }
  for (const SegmentPtr& segment : held) {
    std::error_code error = std::make_error_code(std::errc::no_space_on_device);
    if (room_for_copies(segment->acknowledged_end - segment->synced, segment->withheld.size())) {
      error = copy_tail(segment);
    } else if (more_room_may_come) {
      waits_for_room_.store(true);
      fail_because(fmt::format("{} is to be written anew and waits for room below the limit: {}",
                               segment_name(segment->number), error.message()));
      return error;
    }
    if (is_full(error)) error = rewrite_tail(segment);
    if (error) return fail("write anew " + segment_name(segment->number), error);
  }
  remove_finished();  // before the first segment of this run takes room as well, and so that none of them is sealed
  return {};
}

// As a segment of its own.
std::error_code Journal::copy_tail(const SegmentPtr& from) {
  const IntervalSet wanted = from->withheld;
  RequestReader requests(*from, from->synced, from->acknowledged_end, wanted);
  IntervalSet moved;
  const Source source = [&](std::error_code& error) {
    const auto event = requests.next();
    error = requests.error();
    if (event) moved.add(event->sequence, 1);
    return event;
  };
  SegmentPtr copies;
  if (const auto error = write_closed(SegmentKind::copies, from->header.run, from->header.ordinal,
                                      {from->acknowledged_end - from->synced, wanted.size()}, source, copies)) {
    return error;
  }
  if (copies) disk_.pass(Instant::after_copy);
  const std::lock_guard lock(mutex_);
  if (copies) {
    copies->unfed = copies->events;
    copy_of(*from, moved, copies);
    take_turn(copies);
  }
  tail_is_gone(*from, wanted.without(moved));
  from->withheld.clear();
  return {};
}

// Where it stands, byte by byte, on a disk that has no room for a copy. A sync alone would not do: the kernel may call
// clean what no disk has. A power cut in the midst of it leaves what it would have left before.
std::error_code Journal::rewrite_tail(const SegmentPtr& from) {
  std::unique_ptr<DiskFile> file;  // its own may be open to be read alone
  if (const auto error = disk_.open(segment_name(from->number), Disk::Open::write, file)) return error;
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, from->acknowledged_end - from->synced));
  std::uint64_t begin = 0;
  if (const auto error = behind_padding(*from->file, from->synced, begin)) return error;
  for (std::uint64_t at = begin; at < from->acknowledged_end;) {
    const std::uint64_t size = std::min<std::uint64_t>(piece.size(), from->acknowledged_end - at);
    std::size_t got = 0;
    // Through its own: of what stands twice, this has the copy that is whole.
    if (const auto error = from->file->read(at, std::span(piece).first(size), got)) return error;
    if (got == 0) break;
    const std::array<std::span<const std::byte>, 1> pieces{std::span<const std::byte>(piece).first(got)};
    if (const auto error = file->write(at, pieces)) return error;
    at += got;
  }
  if (const auto error = sync_named(*file)) return error;
  // Only now is it known which requests are whole for good.
  const IntervalSet wanted = from->withheld;
  RequestReader requests(*from, from->synced, from->acknowledged_end, wanted);
  IntervalSet there;
  while (const auto event = requests.next()) there.add(event->sequence, 1);
  if (requests.error()) return requests.error();
  const std::lock_guard lock(mutex_);
  tail_is_gone(*from, wanted.without(there));
  from->withheld.clear();
  from->end = from->acknowledged_end;
  from->unfed += there.size();
  from->seal_at = 0;
  if (from->whole_tail && there.size() == wanted.size()) {
    from->synced = from->seal_at = from->acknowledged_end;
    from->recorded += from->tail_events;
    from->commits += from->tail_commits;
    from->synced_events = from->recorded;
    from->synced_last = from->last_sequence;
  }
  if (std::ranges::find(order_, from) == order_.end()) take_turn(from);
  return {};
}

// It was there when the segment was read, and is not any more. Under mutex_.
void Journal::tail_is_gone(Segment& segment, const IntervalSet& gone) {
  if (gone.empty()) return;
  log(LogLevel::error, fmt::format("what was written and not synced cannot be read again segment={} events={}",
                                   segment_name(segment.number), gone.size()));
  segment.events -= std::min(segment.events, gone.size());
  segment.absent.add(gone);
  segment.skip.add(gone);
  if (taken_over_) late_lost_ += gone.size();  // they count as taken over
}

// ---- sealing

// A footer says that all before it is whole and synced. Of what is damaged it would say so as well. One that is not the
// end of its file was being written when the power went.
bool Journal::may_be_sealed(const Surveyed& one) {
  if (!one.scanned || one.damaged || one.copies()) return false;
  return !one.scan.footer || one.size > one.scan.footer->offset + kFooterSize;
}

// Best effort: one that cannot be sealed is charged for all that it takes of the disk.
void Journal::seal_earlier() {
  bool told = false;
  for (const auto& [number, segment] : segments_) {
    if (segment->seal_at == 0 || !segment->withheld.empty()) continue;
    if (const auto error = seal_earlier(*segment); error && !std::exchange(told, true)) {
      log(LogLevel::warn, fmt::format("a segment of an earlier run could not be sealed segment={}: {}",
                                      segment_name(number), error.message()));
    }
  }
}

// Behind the end stands what counts elsewhere by now, what is finished, and what never counted.
std::error_code Journal::seal_earlier(Segment& segment) {
  const std::uint64_t end = std::exchange(segment.seal_at, 0);  // once: what a failure leaves, nobody knows
  std::uint64_t at = 0;
  if (const auto error = behind_padding(*segment.file, end, at)) return error;
  // A block that has no copy is not written once more. One that has is, since the copies are cut off here: a sync that
  // failed may have destroyed it, and we see what the kernel still has of it.
  if (at != next_block(end) && !segment.has_tails) return {};
  if (segment.has_tails) {
    if (const auto error = static_cast<TailedFile&>(*segment.file).write_back(end)) return error;
  }
  const Footer footer{.first_sequence = segment.first_sequence,
                      .last_sequence = segment.synced_last,
                      .events = segment.recorded,
                      .commits = segment.commits,
                      .offset = at};
  const FooterBytes bytes = encode(footer, segment.header.seed);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  // Synced before the file is cut: one that is shorter than it was made, and has no footer, is a damaged one.
  if (const auto error = segment.file->write(at, piece)) return error;
  if (const auto error = sync_named(*segment.file)) return error;
  // They may be of what stood where the footer is.
  if (segment.has_tails) {
    if (const auto error = static_cast<TailedFile&>(*segment.file).drop_copies(segment.size)) return error;
  }
  if (const auto error = segment.file->truncate(at + kFooterSize)) return error;
  if (const auto error = sync_named(*segment.file)) return error;
  {
    const std::lock_guard lock(mutex_);
    IntervalSet gone;
    segment.finished.each_within(segment.synced_last + 1, UINT64_MAX,
                                 [&](std::uint64_t first, std::uint64_t count) { gone.add(first, count); });
    segment.finished = segment.finished.without(gone);
    segment.unwritten = segment.unwritten.without(gone);
    segment.events -= std::min(segment.events, gone.size());
    segment.absent.add(gone);
    segment.skip.add(gone);
    segment.end = end;
  }
  segment.size = at + kFooterSize;
  segment.acknowledged_end = segment.synced = end;
  segment.last_sequence = segment.synced_last;
  segment.sealed = true;
  charge(segment, std::max(segment.size + segment.settled_size, end + segment.events * kSettleBytes));
  return {};
}

}  // namespace sluice::journal
