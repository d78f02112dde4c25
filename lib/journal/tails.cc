// See the header.
#include "journal/tails.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "journal/event_reader.h"
#include "journal/named_file.h"
#include "journal/survey.h"
#include "journal/tail_copy.h"

namespace sluice::journal {

// ---- securing

void Tails::withhold(Segment& segment, const IntervalSet& tail) {
  FeedState& feed = segment.feed;
  feed.withheld = tail.without(feed.finished).without(feed.absent);
  if (feed.withheld.empty()) return;
  feed.end = segment.written.synced;
  feed.unfed -= std::min(feed.unfed, feed.withheld.size());
}

std::error_code Tails::secure() {
  health_.set_waits_for_room(false);
  remover_.remove_finished();
  std::vector<SegmentPtr> held;
  bool more_room_may_come = false;
  for (const auto& [number, segment] : table_.all()) {
    if (!segment->feed.withheld.empty()) {
      held.push_back(segment);
    } else {
      more_room_may_come = more_room_may_come || !segment->feed.is_finished();
    }
  }
  for (const SegmentPtr& segment : held) {
    std::error_code error = std::make_error_code(std::errc::no_space_on_device);
    const std::uint64_t bytes = segment->written.acknowledged_end - segment->written.synced;
    if (rewriter_.has_room({bytes, segment->feed.withheld.size()})) {
      error = copy(segment);
    } else if (more_room_may_come) {
      health_.set_waits_for_room(true);
      health_.fail_because(fmt::format("{} is to be written anew and waits for room below the limit: {}",
                                       segment_name(segment->number), error.message()));
      return error;
    }
    if (is_full(error)) error = rewrite(segment);
    if (error) return health_.fail("write anew " + segment_name(segment->number), error);
  }
  remover_.remove_finished();  // before this run's first segment takes room as well, and so that none of them is sealed
  return {};
}

// As a segment of its own.
std::error_code Tails::copy(const SegmentPtr& from) {
  const Written& written = from->written;
  const IntervalSet wanted = from->feed.withheld;
  RequestReader requests(*from, written.synced, written.acknowledged_end, wanted);
  IntervalSet moved;
  const Rewriter::Source source = [&](std::error_code& error) {
    const auto event = requests.next();
    error = requests.error();
    if (event) moved.add(event->sequence, 1);
    return event;
  };
  SegmentPtr copies;
  const Extent most{written.acknowledged_end - written.synced, wanted.size()};
  if (const auto error =
          rewriter_.write(SegmentKind::copies, from->header.run, from->header.ordinal, most, source, copies)) {
    return error;
  }
  if (copies) context_.disk.pass(Instant::after_copy);
  const std::lock_guard lock(table_.mutex());
  if (copies) {
    copies->feed.unfed = copies->feed.events;
    table_.move(*from, moved, copies);
    cursor_.insert(copies);
  }
  is_gone(*from, wanted.without(moved));
  from->feed.withheld.clear();
  return {};
}

// In place, on a disk that has no room for a copy. A sync alone would not do: the kernel may count pages as written
// that no disk has. A power cut in the middle leaves what it would have left before.
std::error_code Tails::rewrite(const SegmentPtr& from) {
  std::unique_ptr<DiskFile> file;  // its own may be open for reading only
  if (const auto error = context_.disk.open(segment_name(from->number), Disk::Open::write, file)) return error;
  if (const auto error = write_again(*from, *file)) return error;
  if (const auto error = sync_named(*file)) return error;
  // Only now is it known which requests are whole for good.
  Written& written = from->written;
  const IntervalSet wanted = from->feed.withheld;
  RequestReader requests(*from, written.synced, written.acknowledged_end, wanted);
  IntervalSet there;
  while (const auto event = requests.next()) there.add(event->sequence, 1);
  if (requests.error()) return requests.error();
  const std::lock_guard lock(table_.mutex());
  is_gone(*from, wanted.without(there));
  from->feed.withheld.clear();
  from->feed.end = written.acknowledged_end;
  from->feed.unfed += there.size();
  from->unsealed.seal_at = 0;
  if (from->unsealed.whole && there.size() == wanted.size()) {
    written.synced = from->unsealed.seal_at = written.acknowledged_end;
    written.recorded += from->unsealed.events;
    written.commits += from->unsealed.commits;
    written.synced_events = written.recorded;
    written.synced_last = written.last_sequence;
  }
  if (!cursor_.contains(from)) cursor_.insert(from);
  return {};
}

// Byte by byte, what lies behind the offset that was synced last.
std::error_code Tails::write_again(Segment& from, DiskFile& file) {
  const std::uint64_t end = from.written.acknowledged_end;
  std::vector<std::byte> piece(std::min<std::uint64_t>(Rewriter::kPieceBytes, end - from.written.synced));
  std::uint64_t at = 0;
  if (const auto error = behind_padding(*from.file, from.written.synced, at)) return error;
  while (at < end) {
    const std::uint64_t size = std::min<std::uint64_t>(piece.size(), end - at);
    std::size_t got = 0;
    // Through its own file, which has the intact copy of a block that is there twice.
    if (const auto error = from.file->read(at, std::span(piece).first(size), got)) return error;
    if (got == 0) break;
    const std::array<std::span<const std::byte>, 1> pieces{std::span<const std::byte>(piece).first(got)};
    if (const auto error = file.write(at, pieces)) return error;
    at += got;
  }
  return {};
}

// These events were there when the segment was read at the start, and are not any more. Under the table's lock.
void Tails::is_gone(Segment& segment, const IntervalSet& gone) {
  if (gone.empty()) return;
  context_.log(LogLevel::error, fmt::format("what was written and not synced cannot be read again segment={} events={}",
                                            segment_name(segment.number), gone.size()));
  segment.feed.events -= std::min(segment.feed.events, gone.size());
  segment.feed.absent.add(gone);
  segment.feed.skip.add(gone);
  if (cursor_.begun()) cursor_.add_lost(gone.size());  // they count as taken over
}

// ---- sealing

// A footer says that all before it is whole and synced; of a damaged segment that would be wrong. A footer that is not
// the end of its file was being written when the power went.
void Tails::plan_seal(Segment& segment, const Surveyed& found) {
  if (!found.scanned || found.damaged || found.copies()) return;
  if (found.scan.footer && found.size <= found.scan.footer->offset + kFooterSize) return;
  segment.unsealed = {.seal_at = segment.written.synced,
                      .has_copies = found.tail_room > 0,
                      .whole = found.scan.holes.empty() && found.scan.absent.empty(),
                      .events = found.scan.tail.size(),
                      .commits = found.scan.commits - found.scan.synced_commits};
  segment.written.commits = found.scan.synced_commits;
}

void Tails::seal_all() {
  bool told = false;
  for (const auto& [number, segment] : table_.all()) {
    if (segment->unsealed.seal_at == 0 || !segment->feed.withheld.empty()) continue;
    if (const auto error = seal(*segment); error && !std::exchange(told, true)) {
      context_.log(LogLevel::warn, fmt::format("a segment of an earlier run could not be sealed segment={}: {}",
                                               segment_name(number), error.message()));
    }
  }
}

// Events behind the end count elsewhere by now, are finished, or never counted.
std::error_code Tails::seal(Segment& segment) {
  const std::uint64_t end = std::exchange(segment.unsealed.seal_at, 0);  // once: nobody knows what a failure leaves
  std::uint64_t at = 0;
  if (const auto error = behind_padding(*segment.file, end, at)) return error;
  TailedFile* const tailed = segment.unsealed.has_copies ? &static_cast<TailedFile&>(*segment.file) : nullptr;
  // A block without a copy of its synced bytes is not written again: a failed sync would destroy them. The copies may
  // be of another block, since a later commit moves on.
  if (at != next_block(end) && !(tailed && tailed->has_copy_up_to(end))) return {};
  // A block with a copy is written again, because the copies are cut off here: an earlier sync that failed may have
  // destroyed the block, while this process still reads it from the page cache.
  if (tailed) {
    if (const auto error = tailed->write_back(end)) return error;
  }
  const Footer footer{.first_sequence = segment.written.first_sequence,
                      .last_sequence = segment.written.synced_last,
                      .events = segment.written.recorded,
                      .commits = segment.written.commits,
                      .offset = at};
  if (const auto error = write_footer(segment, footer)) return error;
  cut_off(segment, end);
  Written& written = segment.written;
  written.size = at + kFooterSize;
  written.acknowledged_end = written.synced = end;
  written.last_sequence = written.synced_last;
  written.sealed = true;
  budget_.charge(segment, std::max(segment.disk_bytes(), end + segment.feed.events * kSettleBytes));
  return {};
}

std::error_code Tails::write_footer(Segment& segment, const Footer& footer) {
  const FooterBytes bytes = encode(footer, segment.header.seed);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  // Synced before the file is cut: a file that is shorter than it was made, and has no footer, is a damaged one.
  if (const auto error = segment.file->write(footer.offset, piece)) return error;
  if (const auto error = sync_named(*segment.file)) return error;
  // The copies may be of the block in which the footer is now.
  if (segment.unsealed.has_copies) {
    if (const auto error = static_cast<TailedFile&>(*segment.file).drop_copies(segment.written.size)) return error;
  }
  if (const auto error = segment.file->truncate(footer.offset + kFooterSize)) return error;
  return sync_named(*segment.file);
}

// Events behind the end are no longer this segment's.
void Tails::cut_off(Segment& segment, std::uint64_t end) {
  const std::lock_guard lock(table_.mutex());
  FeedState& feed = segment.feed;
  IntervalSet gone;
  feed.finished.each_within(segment.written.synced_last + 1, UINT64_MAX,
                            [&](std::uint64_t first, std::uint64_t count) { gone.add(first, count); });
  feed.finished = feed.finished.without(gone);
  segment.settles.remove(gone);
  feed.events -= std::min(feed.events, gone.size());
  feed.absent.add(gone);
  feed.skip.add(gone);
  feed.end = end;
}

}  // namespace sluice::journal
