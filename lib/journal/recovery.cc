// How a run takes over what earlier ones left: reads headers, footers and settled files; scans only what was not
// sealed, and what is told apart by nothing else. What it finds behind the offset that was synced last it writes anew,
// synced, before anybody gets to see it: the kernel may hold pages that no disk has, and half of a request that was
// handed out must not vanish in the next power cut.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>

#include "journal/journal.h"
#include "journal/scan.h"
#include "sluice/error.h"

namespace sluice::journal {

namespace {

[[noreturn]] void refuse(std::string_view step, const std::string& name, std::error_code error) {
  throw StartError(StartError::Kind::io, fmt::format("{} {}: {}", step, name, error.message()));
}

}  // namespace

struct Journal::Found {
  SegmentPtr segment;
  std::uint64_t file_size = 0;
  ScanLimits limits;
  std::optional<Footer> footer;
  bool scanned = false;
  Scan scan;
};

std::vector<Journal::Found> Journal::find_segments() {
  std::vector<std::string> names;
  if (const auto error = disk_.list(names)) refuse("list", "journal", error);
  std::set<std::uint64_t> segments;
  std::set<std::uint64_t> settled;
  for (const std::string& name : names) {
    if (is_draft(name)) static_cast<void>(disk_.unlink(name));
    const auto parsed = parse_name(name);
    if (!parsed) continue;
    next_number_ = std::max(next_number_, parsed->number + 1);
    if (parsed->what == FileName::What::segment) segments.insert(parsed->number);
    if (parsed->what == FileName::What::settled) settled.insert(parsed->number);
  }

  std::vector<Found> found;
  std::vector<std::uint64_t> unmade, set_aside;
  for (const std::uint64_t number : segments) {
    const std::string name = segment_name(number);
    std::unique_ptr<DiskFile> file;
    if (const auto error = disk_.open(name, Disk::Open::write, file)) refuse("open", name, error);
    DiskFile::Stat stat;
    if (const auto error = file->stat(stat)) refuse("open", name, error);
    const FoundHeader header = read_header(*file);
    if (header.error) refuse("read", name, header.error);
    if (!header.header) {
      std::array<std::byte, 64> first{};
      std::size_t got = 0;
      static_cast<void>(file->read(kFirstCommit, first, got));
      const bool empty = std::ranges::all_of(first, [](std::byte b) { return b == std::byte{0}; });
      if (empty) {  // its making was cut short: it never held anything that counts
        unmade.push_back(number);
        continue;
      }
      log(LogLevel::error,
          fmt::format("the journal is damaged segment={} offset=0 bytes={} reason=\"both headers\"", name, stat.size));
      static_cast<void>(disk_.rename(name, damaged_name(number)));
      set_aside.push_back(number);
      // How many events it held, nobody knows: it stands for one at least.
      ++replayed_;
      ++late_lost_;
      continue;
    }
    if (header.header->version > kVersion) {
      throw StartError(StartError::Kind::unusable, fmt::format("journal: {} is of version {}, this program reads {}",
                                                               name, header.header->version, kVersion));
    }
    if (header.one_broken) {
      log(LogLevel::warn, fmt::format("the journal is damaged segment={} reason=\"one header of two\"", name));
    }
    auto segment = std::make_shared<Segment>(number, *header.header);
    segment->file = std::move(file);
    segment->size = stat.size;
    found.push_back({.segment = std::move(segment),
                     .file_size = stat.size,
                     .limits = {},
                     .footer = {},
                     .scanned = false,
                     .scan = {}});
  }
  for (const std::uint64_t number : unmade) {
    static_cast<void>(disk_.unlink(segment_name(number)));
    segments.erase(number);
  }
  for (const std::uint64_t number : set_aside) segments.erase(number);
  // What has no segment any more.
  const bool gone = !disk_.sync_directory();
  for (const std::uint64_t number : settled) {
    if (gone && !segments.contains(number)) static_cast<void>(disk_.unlink(settled_name(number)));
  }
  for (Found& one : found) {
    Segment& segment = *one.segment;
    const std::string name = settled_name(segment.number);
    if (disk_.open(name, Disk::Open::write, segment.settled)) {
      if (const auto error = disk_.open(name, Disk::Open::create, segment.settled)) refuse("create", name, error);
    }
    DiskFile::Stat stat;
    if (const auto error = segment.settled->stat(stat)) refuse("open", name, error);
    const Settled settles = read_settled(*segment.settled, segment.header.seed, stat.size);
    if (settles.error) refuse("read", name, settles.error);
    segment.settled_size = stat.size;
    segment.settled_end = settles.end;
    segment.finished = settles.set;
    // Perhaps only the kernel has them; the next sync of settles is theirs as well.
    segment.settled_dirty = settles_dirty_ = settles_dirty_ || !settles.set.empty();
  }
  return found;
}

// Which events of which segment count.
void Journal::judge(std::vector<Found>& found) {
  const auto scan_it = [](Found& one) {
    if (one.scanned) return;
    one.limits.size = one.file_size;
    one.scan = journal::scan(*one.segment->file, one.segment->header, one.limits);
    if (one.scan.error) refuse("read", segment_name(one.segment->number), one.scan.error);
    one.scanned = true;
  };
  for (const Found& successor : found) {
    for (Found& one : found) {
      if (one.segment->number != successor.segment->header.predecessor) continue;
      one.limits.end = std::min(one.limits.end, successor.segment->header.predecessor_end);
      one.limits.synced = std::max(one.limits.synced, successor.segment->header.predecessor_synced);
    }
  }
  // Copies first, the newest first: an event counts where it stands last.
  std::vector<std::pair<RunId, IntervalSet>> moved;
  const auto moved_of = [&](const RunId& run) -> IntervalSet& {
    const auto at = std::ranges::find_if(moved, [&](const auto& one) { return one.first == run; });
    return at != moved.end() ? at->second : moved.emplace_back(run, IntervalSet()).second;
  };
  std::vector<Found*> newest_first;
  for (Found& one : found) newest_first.push_back(&one);
  std::ranges::sort(newest_first,
                    [](const Found* a, const Found* b) { return a->segment->number > b->segment->number; });
  for (Found* const one : newest_first) {
    Segment& segment = *one->segment;
    one->footer = read_footer(*segment.file, segment.header, one->file_size);
    if (segment.header.kind != SegmentKind::copies) continue;
    scan_it(*one);
    IntervalSet& elsewhere = moved_of(segment.header.run);
    segment.absent.add(one->scan.present.common(elsewhere));
    elsewhere.add(one->scan.present);
  }
  for (Found* const one : newest_first) {
    Segment& segment = *one->segment;
    const bool copies = segment.header.kind == SegmentKind::copies;
    if (!copies) {
      const IntervalSet& elsewhere = moved_of(segment.header.run);
      if (!one->footer || !elsewhere.empty()) scan_it(*one);
      if (one->scanned) segment.absent.add(one->scan.present.common(elsewhere));
    }
    if (one->scanned) {
      const Scan& seen = one->scan;
      segment.events = seen.events - segment.absent.size();
      segment.end = segment.acknowledged_end = seen.end;
      segment.sealed = seen.footer.has_value();
      segment.synced = seen.footer ? seen.end : std::min(seen.synced, seen.end);
      segment.first_sequence = seen.first_sequence;
      segment.last_sequence = seen.last_sequence;
      segment.commits = seen.commits;
      segment.damaged = seen.damaged();
      segment.absent.add(seen.absent);
    } else {
      segment.events = one->footer->events;
      segment.sealed = true;
      segment.end = segment.acknowledged_end = segment.synced = one->footer->offset;
      segment.first_sequence = one->footer->first_sequence;
      segment.last_sequence = one->footer->last_sequence;
      segment.commits = one->footer->commits;
    }
    segment.finished = segment.finished.without(segment.absent);
    segment.skip = segment.finished;
    segment.skip.add(segment.absent);
    segment.unfed = segment.events - std::min(segment.events, segment.finished.size());
    segment.charged = segment.acknowledged_end + segment.events * kSettleBytes;
    taken_.fetch_add(segment.charged);
  }
}

void Journal::take_over() {
  if (const auto error = disk_.hold()) {
    const auto kind = error == std::errc::operation_would_block ? StartError::Kind::in_use : StartError::Kind::io;
    throw StartError(kind, fmt::format("journal: {}", error.message()));
  }
  std::vector<Found> found = find_segments();
  judge(found);
  disk_.pass(Instant::at_recovery);
  for (const Found& one : found) {
    const Segment& segment = *one.segment;
    ordinal_ = std::max(ordinal_, segment.header.ordinal + 1);
    for (const Hole& hole : one.scan.holes) {
      if (hole.torn) {
        log(LogLevel::warn, fmt::format("the end of a segment was cut short segment={} offset={} bytes={}",
                                        segment_name(segment.number), hole.offset, hole.size));
      }
    }
    segments_[segment.number] = one.segment;
  }
  for (const Found& one : found) {
    if (one.scanned && !one.scan.footer) rewrite_tail(one.segment, one.scan.tail);
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
