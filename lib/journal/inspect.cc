// The look from outside. All is read once, to judge it; the unfinished events are read again when somebody wants them.
// A daemon may be at work meanwhile: segments that went between two looks are looked for anew, since their events may
// stand in a copy by now; and a hole is believed only if it is still there when looked at again.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <utility>

#include "journal/posix_disk.h"
#include "journal/record_reader.h"
#include "journal/scan.h"
#include "sluice/error.h"
#include "sluice/journal.h"

namespace sluice {

namespace {

using journal::FileName;
using journal::Header;
using journal::IntervalSet;
using journal::RecordReader;
using journal::Scan;

// So often a journal is looked at anew that changes under our eyes.
constexpr int kLooks = 8;

struct Segment {
  std::uint64_t number = 0;
  std::uint64_t size = 0;
  std::unique_ptr<DiskFile> file;
  std::optional<Header> header;  // nothing: none fits
  bool one_header_broken = false;
  Scan scan;
  IntervalSet superseded;  // stand in a copy of a higher number
  IntervalSet live;        // intact, not finished
};

[[noreturn]] void refuse(std::string_view step, const std::string& name, std::error_code error) {
  throw StartError(StartError::Kind::io, std::string(step) + " " + name + ": " + error.message());
}

// Thrown and caught here alone: a file that was listed is gone.
struct Gone {};

std::unique_ptr<DiskFile> opened(Disk& disk, const std::string& name) {
  std::unique_ptr<DiskFile> file;
  const std::error_code error = disk.open(name, Disk::Open::read, file);
  if (error == std::errc::no_such_file_or_directory) throw Gone();
  if (error) refuse("open", name, error);
  return file;
}

std::uint64_t size_of(DiskFile& file, const std::string& name) {
  DiskFile::Stat stat;
  if (const std::error_code error = file.stat(stat)) refuse("open", name, error);
  return stat.size;
}

// It never held anything: its making was cut short, or is under way.
bool is_unmade(DiskFile& file) {
  std::array<std::byte, 64> first{};
  std::size_t got = 0;
  if (file.read(journal::kFirstCommit, first, got)) return false;
  return std::ranges::all_of(first, [](std::byte b) { return b == std::byte{0}; });
}

bool readable(const Segment& segment) { return segment.header && segment.header->version <= journal::kVersion; }

}  // namespace

struct SLUICE_INTERNAL JournalView::Impl {
  explicit Impl(const std::filesystem::path& state_dir) : disk(read_only_disk(state_dir)) {
    std::error_code error;
    if (!std::filesystem::is_directory(state_dir, error)) {
      refuse("open", state_dir.string(), error ? error : std::make_error_code(std::errc::not_a_directory));
    }
    for (int looks = 1;; ++looks) {
      try {
        look();
        return;
      } catch (const Gone&) {
        if (looks == kLooks) {
          throw StartError(StartError::Kind::io, "read " + state_dir.string() + ": the journal changes too fast");
        }
      }
    }
  }

  void look() {
    segments.clear();
    shown.clear();
    holes.clear();
    std::vector<std::string> names;
    const std::error_code error = disk->list(names);
    if (error && error != std::errc::no_such_file_or_directory) refuse("list", "journal", error);
    for (const std::string& name : names) {
      const auto parsed = journal::parse_name(name);
      if (!parsed) continue;
      if (parsed->what == FileName::What::segment) open_segment(parsed->number);
      if (parsed->what == FileName::What::damaged) show_set_aside(parsed->number);
    }
    std::ranges::sort(segments, {}, &Segment::number);
    for (Segment& segment : segments) {
      if (readable(segment)) scan_segment(segment);
    }
    find_superseded();
    for (Segment& segment : segments) show(segment);
    std::ranges::sort(shown, {}, &JournalSegment::number);
  }

  void open_segment(std::uint64_t number) {
    Segment segment;
    const std::string name = journal::segment_name(number);
    segment.number = number;
    segment.file = opened(*disk, name);
    segment.size = size_of(*segment.file, name);
    const journal::FoundHeader found = journal::read_header(*segment.file);
    if (found.error) refuse("read", name, found.error);
    if (!found.header && is_unmade(*segment.file)) return;
    segment.header = found.header;
    segment.one_header_broken = found.one_broken;
    segments.push_back(std::move(segment));
  }

  void show_set_aside(std::uint64_t number) {
    const std::string name = journal::damaged_name(number);
    const auto file = opened(*disk, name);
    JournalSegment one;
    one.number = number;
    one.state = JournalSegment::State::set_aside;
    one.bytes = size_of(*file, name);
    const journal::FoundHeader found = journal::read_header(*file);
    if (found.header) {
      one.version = found.header->version;
      if (one.version <= journal::kVersion) one.run = found.header->run;
    }
    shown.push_back(one);
  }

  // Until two looks agree that there is damage, or there is none.
  void scan_segment(Segment& segment) {
    journal::ScanLimits limits;
    for (const Segment& successor : segments) {
      if (!readable(successor) || successor.header->predecessor != segment.number) continue;
      limits.end = std::min(limits.end, successor.header->predecessor_end);
      limits.synced = std::max(limits.synced, successor.header->predecessor_synced);
    }
    const std::string name = journal::segment_name(segment.number);
    for (int looks = 1;; ++looks) {
      segment.size = limits.size = size_of(*segment.file, name);
      Scan now = journal::scan(*segment.file, *segment.header, limits);
      if (now.error) refuse("read", name, now.error);
      const bool same = looks > 1 && now.end == segment.scan.end && now.holes.size() == segment.scan.holes.size();
      segment.scan = std::move(now);
      if (!segment.scan.damaged() || same || looks == kLooks) return;
    }
  }

  // The copy with the highest number counts.
  void find_superseded() {
    for (const Segment& copy : segments) {
      if (!readable(copy) || copy.header->kind != journal::SegmentKind::copies) continue;
      for (Segment& older : segments) {
        if (older.number >= copy.number) break;
        if (!readable(older) || older.header->run != copy.header->run) continue;
        copy.scan.present.each([&older](std::uint64_t first, std::uint64_t count) {
          for (std::uint64_t i = first; i < first + count; ++i) {
            if (older.scan.present.contains(i)) older.superseded.add(i, 1);
          }
        });
      }
    }
  }

  [[nodiscard]] IntervalSet settled_of(const Segment& segment) const {
    const std::string name = journal::settled_name(segment.number);
    std::unique_ptr<DiskFile> file;
    if (const std::error_code error = disk->open(name, Disk::Open::read, file)) {
      // None was written yet; or the segment went before it, and is finished.
      if (error != std::errc::no_such_file_or_directory) refuse("open", name, error);
      DiskFile::Stat stat;
      if (segment.file->stat(stat) || stat.links == 0) throw Gone();
      return {};
    }
    journal::Settled settled = journal::read_settled(*file, segment.header->seed, size_of(*file, name));
    if (settled.error) refuse("read", name, settled.error);
    return std::move(settled.set);
  }

  void show(Segment& segment) {
    JournalSegment one;
    one.number = segment.number;
    one.bytes = segment.size;
    if (!segment.header) {
      one.state = JournalSegment::State::damaged;
      holes.push_back({segment.number, 0, segment.size, false});
    } else if (one.version = segment.header->version; !readable(segment)) {
      one.state = JournalSegment::State::newer;
    } else {
      count(segment, one);
    }
    shown.push_back(one);
  }

  void count(Segment& segment, JournalSegment& one) {
    const Scan& scan = segment.scan;
    const IntervalSet settled = settled_of(segment);
    scan.present.each([&](std::uint64_t first, std::uint64_t n) {
      for (std::uint64_t i = first; i < first + n; ++i) {
        if (segment.superseded.contains(i)) continue;
        if (settled.contains(i)) {
          ++one.settled;
        } else {
          segment.live.add(i, 1);
        }
      }
    });
    one.sealed = scan.footer.has_value();
    one.copies = segment.header->kind == journal::SegmentKind::copies;
    one.run = segment.header->run;
    one.first = scan.first_sequence;
    one.last = scan.last_sequence;
    one.broken = scan.broken;
    one.events = scan.events - segment.superseded.size();
    one.unfinished = segment.live.size();
    const bool damaged = scan.damaged() || segment.one_header_broken;
    one.state = damaged      ? JournalSegment::State::damaged
                : one.sealed ? JournalSegment::State::sealed
                             : JournalSegment::State::open;
    if (segment.one_header_broken) add_broken_header(segment);
    for (const journal::Hole& hole : scan.holes) holes.push_back({segment.number, hole.offset, hole.size, hole.torn});
  }

  void add_broken_header(const Segment& segment) {
    std::array<std::byte, journal::kHeaderSize> bytes{};
    std::size_t got = 0;
    const bool first_fits =
        !segment.file->read(0, bytes, got) && journal::decode_header(std::span(bytes).first(got)).has_value();
    holes.push_back({segment.number, first_fits ? journal::kSecondHeader : 0, journal::kHeaderSize, false});
  }

  std::unique_ptr<Disk> disk;
  std::vector<Segment> segments;      // that may hold events, by number
  std::vector<JournalSegment> shown;  // and those set aside
  std::vector<JournalHole> holes;
};

namespace {

// Reads the live events of one segment, one after the other; opened when its first one is due, so that the memory of
// many is not held at once.
class Cursor {
 public:
  explicit Cursor(const Segment& segment) : segment_(&segment) {
    segment.live.each([this](std::uint64_t first, std::uint64_t) { next_ = std::min(next_, first); });
  }

  [[nodiscard]] auto order() const { return std::tuple(segment_->header->ordinal, segment_->header->run.bytes, next_); }
  [[nodiscard]] const RunId& run() const { return segment_->header->run; }

  // To the next live event. False at the end, or with an error.
  [[nodiscard]] bool advance(std::error_code& error) {
    if (!reader_) {
      reader_ = std::make_unique<RecordReader>(*segment_->file, segment_->header->seed, journal::kFirstCommit,
                                               segment_->scan.end);
    }
    for (;;) {
      const RecordReader::Item item = reader_->next();
      if (item.what == RecordReader::What::error) error = item.error;
      if (item.what == RecordReader::What::error || item.what == RecordReader::What::end) return false;
      if (item.what != RecordReader::What::record || item.head.kind != journal::RecordKind::event) continue;
      event_ = journal::event_in(item.record);
      if (!segment_->live.contains(event_.sequence)) continue;
      next_ = event_.sequence;
      return true;
    }
  }
  [[nodiscard]] bool is_read() const { return reader_ != nullptr; }
  [[nodiscard]] Delivery event() const {
    return {.payload = event_.payload,
            .content_type = event_.content_type,
            .id = {segment_->header->run, event_.sequence},
            .received = event_.received};
  }

 private:
  const Segment* segment_;
  std::unique_ptr<RecordReader> reader_;
  std::uint64_t next_ = UINT64_MAX;
  journal::EventView event_;
};

}  // namespace

JournalView::JournalView(std::filesystem::path state_dir) : impl_(std::make_unique<Impl>(state_dir)) {}

JournalView::~JournalView() = default;

const std::vector<JournalSegment>& JournalView::segments() const noexcept { return impl_->shown; }

const std::vector<JournalHole>& JournalView::holes() const noexcept { return impl_->holes; }

JournalTotals JournalView::totals() const noexcept {
  JournalTotals totals;
  for (const JournalSegment& segment : impl_->shown) {
    if (segment.state == JournalSegment::State::set_aside) continue;
    totals.events += segment.events;
    totals.settled += segment.settled;
    totals.unfinished += segment.unfinished;
    totals.broken += segment.broken;
    totals.bytes += segment.bytes;
  }
  return totals;
}

bool JournalView::whole() const noexcept {
  return std::ranges::none_of(impl_->shown, [](const JournalSegment& segment) {
    return segment.state == JournalSegment::State::damaged || segment.state == JournalSegment::State::newer;
  });
}

// Segments may overlap (copies, and what was spilled), so it is a merge.
std::error_code JournalView::for_each_unfinished(const std::function<bool(const Delivery&)>& visit) const {
  const auto later = [](const Cursor& a, const Cursor& b) { return a.order() > b.order(); };
  std::vector<Cursor> waiting;  // a heap, the earliest on top
  for (const Segment& segment : impl_->segments) {
    if (!segment.live.empty()) waiting.emplace_back(segment);
  }
  std::ranges::make_heap(waiting, later);
  while (!waiting.empty()) {
    std::ranges::pop_heap(waiting, later);
    Cursor& cursor = waiting.back();
    const bool was_read = cursor.is_read();
    if (was_read && !visit(cursor.event())) return {};
    std::error_code error;
    if (!cursor.advance(error)) {
      if (error) return error;
      waiting.pop_back();
      continue;
    }
    std::ranges::push_heap(waiting, later);
  }
  return {};
}

std::string_view to_string(JournalSegment::State state) noexcept {
  switch (state) {
    case JournalSegment::State::open:
      return "open";
    case JournalSegment::State::sealed:
      return "sealed";
    case JournalSegment::State::damaged:
      return "damaged";
    case JournalSegment::State::newer:
      return "newer";
    case JournalSegment::State::set_aside:
      return "set-aside";
  }
  return "?";
}

}  // namespace sluice
