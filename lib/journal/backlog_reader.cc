// See the header.
#include "journal/backlog_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

namespace sluice::journal {

namespace {

constexpr int kTries = 3;  // to read, with a rest between them, before an unreadable place is a hole

}  // namespace

void BacklogReader::read(std::size_t most_events, std::size_t most_bytes, const BufferSource& buffers,
                         Backlog& backlog) {
  backlog.events.clear();
  backlog.bytes = 0;
  backlog.error.clear();
  while (const std::optional<Cursor::Stretch> stretch = cursor_.next(backlog.lost)) {
    open(*stretch, buffers);
    backlog.run = stretch->segment->header.run;
    backlog.segment = stretch->segment->number;
    read_stretch(*stretch, most_events, most_bytes, backlog);
    if (backlog.error || !backlog.events.empty()) return;
    // Nothing is left to feed here: the cursor goes on by itself.
    cursor_.skip_to(stretch->segment, std::max(reader_->at(), stretch->to));
  }
  // An open file that is deleted keeps its room on the disk.
  reader_.reset();
  reading_.reset();
}

void BacklogReader::open(const Cursor::Stretch& stretch, const BufferSource& buffers) {
  Segment& segment = *stretch.segment;
  if (reading_ != stretch.segment) {
    reading_ = stretch.segment;
    reader_ = std::make_unique<RecordReader>(*segment.file, segment.header.seed, stretch.from, stretch.to, buffers);
    reader_->ends_at_footer();
    if (segment.unreadable) reader_->read_around();
    unread_ = {};
  }
  reader_->seek(stretch.from);
  reader_->extend(stretch.to);
}

void BacklogReader::read_stretch(const Cursor::Stretch& stretch, std::size_t most_events, std::size_t most_bytes,
                                 Backlog& backlog) {
  Segment& segment = *stretch.segment;
  Wanted wanted;
  RecordReader::Item item = reader_->next();
  for (;;) {
    if (item.what == RecordReader::What::error) {
      // By where reading began: the commit's first record, before the bad place, may be readable each time.
      if (std::exchange(unread_.from, stretch.from) != stretch.from) unread_.tries = 0;
      // If nothing can be written either, the disk is away, and may come back.
      const bool away = health_.failed() && !health_.waits_for_room();
      if (segment.unreadable || away || ++unread_.tries < kTries) {
        backlog.error = reader_->error();
        return;
      }
      segment.unreadable.store(true);
      reader_->read_around();
      reader_->seek(item.offset);
      item = reader_->next();
      continue;
    }
    if (item.what == RecordReader::What::end) break;
    if (item.what == RecordReader::What::hole) {
      report_hole(item);
    } else if (item.head.kind == RecordKind::event) {
      const Record event = event_in(item.record);
      if (is_wanted(event.sequence, wanted)) {
        if (!backlog.events.empty() && backlog.bytes + item.size > most_bytes) {
          reader_->seek(item.offset);
          break;
        }
        backlog.bytes += item.size;
        backlog.events.push_back(event);
      }
    }
    if (backlog.events.size() >= most_events) break;
    if (backlog.events.empty()) {
      item = reader_->next();
    } else if (!reader_->next_in_buffer(item)) {
      break;
    }
  }
}

void BacklogReader::report_hole(const RecordReader::Item& hole) {
  Segment& segment = *reading_;
  if (segment.feed.scanned && !hole.unreadable) return;  // reported at the start
  bool known = false;
  {
    const std::lock_guard lock(table_.mutex());
    known = std::exchange(segment.feed.damaged, true) && segment.feed.scanned;
  }
  if (known) return;
  context_.log(LogLevel::error,
               fmt::format("the journal is damaged segment={} offset={} bytes={}{}", segment_name(segment.number),
                           hole.offset, hole.size, hole.unreadable ? " reason=\"it cannot be read\"" : ""));
  if (hole.unreadable) health_.add_unreadable(hole.size);
}

bool BacklogReader::is_wanted(std::uint64_t sequence, Wanted& wanted) {
  if (sequence < wanted.from || sequence >= wanted.to) {
    const std::lock_guard lock(table_.mutex());
    wanted = {sequence, reading_->feed.skip.next(sequence)};
  }
  return sequence < wanted.to;
}

}  // namespace sluice::journal
