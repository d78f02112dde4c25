// A look into a journal from outside: the results of the survey, as public values. Everything is read once; the
// unfinished events are read again when they are asked for. A daemon may be at work meanwhile: if a segment is removed
// during the survey, it begins anew, since the events may be in a copy by now; and damage counts only if a second
// survey finds it again. One thread at a time; it changes nothing.
#include <algorithm>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <utility>

#include "journal/posix_disk.h"
#include "journal/record_reader.h"
#include "journal/survey.h"
#include "sluice/error.h"
#include "sluice/journal.h"

namespace sluice {

namespace {

using journal::IntervalSet;
using journal::RecordReader;
using journal::Survey;
using journal::Surveyed;

// Surveys of a journal that keeps changing.
constexpr int kLooks = 8;

// A segment with unfinished events.
struct Segment {
  std::unique_ptr<DiskFile> file;
  journal::Header header;
  std::uint64_t end = 0;
  IntervalSet live;  // intact, not finished
};

[[noreturn]] void refuse(std::string_view step, const std::string& name, std::error_code error) {
  throw StartError(StartError::Kind::io, std::string(step) + " " + name + ": " + error.message());
}

}  // namespace

struct SLUICE_INTERNAL JournalView::Impl {
  explicit Impl(const std::filesystem::path& state_dir) : disk(read_only_disk(state_dir)) {
    std::error_code error;
    if (!std::filesystem::is_directory(state_dir, error)) {
      refuse("open", state_dir.string(), error ? error : std::make_error_code(std::errc::not_a_directory));
    }
    for (int looks = 1;; ++looks) {
      const std::vector<JournalHole> before = std::move(holes);
      try {
        look();
        const bool whole = std::ranges::all_of(holes, &JournalHole::torn);
        if (whole || (looks > 1 && same(holes, before)) || looks == kLooks) return;
      } catch (const journal::Gone&) {
        if (looks == kLooks) {
          throw StartError(StartError::Kind::io, "read " + state_dir.string() + ": the journal changes too fast");
        }
      }
    }
  }

  static bool same(const std::vector<JournalHole>& a, const std::vector<JournalHole>& b) {
    return std::ranges::equal(a, b, [](const JournalHole& one, const JournalHole& other) {
      return std::tuple(one.segment, one.offset, one.torn) == std::tuple(other.segment, other.offset, other.torn);
    });
  }

  void look() {
    segments.clear();
    shown.clear();
    holes.clear();
    Survey found = journal::survey(*disk, Disk::Open::read, journal::Look::thorough);
    for (Surveyed& one : found.segments) show(one);
    for (const std::uint64_t number : found.set_aside) show_set_aside(number);
    std::ranges::sort(shown, {}, &JournalSegment::number);
  }

  void show_set_aside(std::uint64_t number) {
    const std::string name = journal::damaged_name(number);
    std::unique_ptr<DiskFile> file;
    const std::error_code error = disk->open(name, Disk::Open::read, file);
    if (error == std::errc::no_such_file_or_directory) return;  // somebody has removed it
    if (error) refuse("open", name, error);
    DiskFile::Stat stat;
    if (const std::error_code failed = file->stat(stat)) refuse("open", name, failed);
    JournalSegment one;
    one.number = number;
    one.state = JournalSegment::State::set_aside;
    one.bytes = stat.size;
    if (const journal::FoundHeader header = journal::read_header(*file, stat.size); header.header) {
      one.version = header.header->version;
      if (journal::is_read(one.version)) one.run = header.header->run;
    }
    shown.push_back(one);
  }

  void show(Surveyed& from) {
    JournalSegment one;
    one.number = from.number;
    one.bytes = from.size;
    switch (from.is) {
      case Surveyed::Is::unmade:
        return;
      case Surveyed::Is::newer:
        one.state = JournalSegment::State::newer;
        one.version = from.header().version;
        break;
      case Surveyed::Is::unreadable:
      case Surveyed::Is::duplicate:
        one.state = JournalSegment::State::damaged;
        one.events = one.broken = from.is == Surveyed::Is::unreadable || from.mutilated ? 1 : 0;
        holes.push_back({.segment = from.number, .offset = 0, .bytes = from.size});
        break;
      case Surveyed::Is::segment:
        count(from, one);
        show_holes(from);
        break;
    }
    shown.push_back(one);
  }

  void count(Surveyed& from, JournalSegment& one) {
    IntervalSet live = from.scan.present.without(from.absent).without(from.finished);
    one.version = from.header().version;
    one.sealed = from.footer || from.scan.footer;
    one.copies = from.copies();
    one.run = from.header().run;
    one.first = from.scan.first_sequence;
    one.last = from.scan.last_sequence;
    one.events = from.events;
    one.unfinished = live.size();
    one.settled = std::min(from.finished.size(), one.events - live.size());
    one.broken = one.events - one.settled - one.unfinished;
    one.state = from.damaged ? JournalSegment::State::damaged
                : one.sealed ? JournalSegment::State::sealed
                             : JournalSegment::State::open;
    if (!live.empty()) segments.push_back({std::move(from.file), from.header(), from.scan.end, std::move(live)});
  }

  void show_holes(const Surveyed& from) {
    for (const std::uint64_t offset : from.found.broken) {
      holes.push_back({.segment = from.number, .offset = offset, .bytes = journal::kHeaderSize});
    }
    for (const journal::Hole& hole : from.scan.holes) {
      holes.push_back({.segment = from.number, .offset = hole.offset, .bytes = hole.size, .torn = hole.torn});
    }
    for (const journal::Hole& hole : from.settled.holes) {
      holes.push_back(
          {.segment = from.number, .offset = hole.offset, .bytes = hole.size, .torn = true, .settles = true});
    }
  }

  std::unique_ptr<Disk> disk;
  std::vector<Segment> segments;      // with unfinished events
  std::vector<JournalSegment> shown;  // all, and those set aside
  std::vector<JournalHole> holes;
};

namespace {

// Reads the live events of one segment, one by one; the reader is made for the first one, so that only segments whose
// turn has come hold a buffer.
class Cursor {
 public:
  explicit Cursor(const Segment& segment) : segment_(&segment) {
    segment.live.each([this](std::uint64_t first, std::uint64_t) { next_ = std::min(next_, first); });
  }

  [[nodiscard]] auto order() const { return std::tuple(segment_->header.ordinal, segment_->header.run.bytes, next_); }
  [[nodiscard]] const RunId& run() const { return segment_->header.run; }

  // To the next live event. False at the end, or with an error.
  [[nodiscard]] bool advance(std::error_code& error) {
    if (!reader_) {
      reader_ =
          std::make_unique<RecordReader>(*segment_->file, segment_->header.seed, journal::kFirstCommit, segment_->end);
      reader_->read_around();
    }
    for (;;) {
      const RecordReader::Item item = reader_->next();
      if (item.what == RecordReader::What::error) error = reader_->error();
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
            .id = {segment_->header.run, event_.sequence},
            .received = event_.received};
  }

 private:
  const Segment* segment_;
  std::unique_ptr<RecordReader> reader_;
  std::uint64_t next_ = UINT64_MAX;
  journal::Record event_;
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

// Segments may overlap (copies, spilled events), so this is a merge.
std::error_code JournalView::for_each_unfinished(const std::function<bool(const Delivery&)>& visit) const {
  const auto later = [](const Cursor& a, const Cursor& b) { return a.order() > b.order(); };
  std::vector<Cursor> waiting;  // a heap, the earliest on top
  for (const Segment& segment : impl_->segments) waiting.emplace_back(segment);
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
