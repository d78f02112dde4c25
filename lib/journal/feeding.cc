// The order of feeding: one cursor over the segments, moved by what goes from memory straight to the queue and by what
// the feeder reads. Under the feed's lock, but for read_backlog(), which is the feeder's thread alone.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "journal/journal.h"

namespace sluice::journal {

namespace {

constexpr int kTries = 3;  // to read, with a rest between them, before what cannot be read is a hole

}  // namespace

// Segments that are fed to their end leave the order. Under mutex_.
void Journal::normalize_cursor() {
  while (!order_.empty() && order_.front() != active_ && cursor_ >= order_.front()->end) {
    Segment& done = *order_.front();
    if (done.unfed > 0) {
      // The reader went over all of it, and these were not there.
      done.lost += done.unfed;
      late_lost_ += std::exchange(done.unfed, 0);
      done.damaged = true;
    }
    order_.pop_front();
    cursor_ = kFirstCommit;
  }
}

bool Journal::caught_up() {
  const std::lock_guard lock(mutex_);
  normalize_cursor();
  return order_.empty() || (order_.front() == active_ && cursor_ >= active_->end);
}

bool Journal::cursor_at(std::uint64_t segment, std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  normalize_cursor();
  if (order_.empty() || order_.front()->number != segment) return false;
  // Zeros may stand before what was committed just now, and behind all that was shown.
  return cursor_ == offset || (cursor_ == order_.front()->end && next_block(cursor_) == offset);
}

void Journal::show(const Place& place) {
  const std::lock_guard lock(mutex_);
  const auto at = segments_.find(place.segment);
  if (at != segments_.end()) at->second->end = place.end;
}

void Journal::fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence) {
  const std::lock_guard lock(mutex_);
  Segment& segment = *order_.front();
  assert(segment.unfed >= events);
  cursor_ = offset;
  segment.unfed -= events;
  fed_sequence_ = std::max(fed_sequence_, last_sequence);
}

void Journal::read_backlog(std::size_t most_events, std::size_t most_bytes, const BufferSource& buffers,
                           Backlog& backlog) {
  backlog.events.clear();
  backlog.bytes = 0;
  backlog.error.clear();
  for (;;) {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    SegmentPtr segment;
    {
      const std::lock_guard lock(mutex_);
      normalize_cursor();
      backlog.lost += std::exchange(late_lost_, 0);
      if (!order_.empty() && (order_.front() != active_ || cursor_ < active_->end)) {
        segment = order_.front();
        from = cursor_;
        to = segment->end;
      }
    }
    if (!segment) {
      // While it is open, a file that is removed keeps its room on the disk.
      reader_.reset();
      reading_.reset();
      return;
    }
    if (reading_ != segment) {
      reading_ = segment;
      reader_ = std::make_unique<RecordReader>(*segment->file, segment->header.seed, from, to, buffers);
      reader_->ends_at_footer();
      if (segment->unreadable) reader_->read_around();
      unread_ = {};
    }
    reader_->seek(from);
    reader_->extend(to);
    backlog.run = segment->header.run;
    backlog.segment = segment->number;
    // None of these sequences is to be skipped: looked up by stretches, not one by one.
    std::uint64_t wanted_from = 0;
    std::uint64_t wanted_to = 0;
    RecordReader::Item item = reader_->next();
    for (;;) {
      if (item.what == RecordReader::What::error) {
        // By where reading began: the commit's first record, before the bad place, may be readable each time.
        if (std::exchange(unread_.from, from) != from) unread_.tries = 0;
        // Where nothing can be written either, the disk is away, and may come back.
        const bool away = failed() && !waits_for_room_;
        if (segment->unreadable || away || ++unread_.tries < kTries) {
          backlog.error = reader_->error();
          return;
        }
        segment->unreadable.store(true);
        reader_->read_around();
        reader_->seek(item.offset);
        item = reader_->next();
        continue;
      }
      if (item.what == RecordReader::What::end) break;
      if (item.what == RecordReader::What::hole) {
        if (!segment->scanned || item.unreadable) {
          bool known = false;
          {
            const std::lock_guard lock(mutex_);
            known = std::exchange(segment->damaged, true) && segment->scanned;
          }
          if (!known) {
            log(LogLevel::error,
                fmt::format("the journal is damaged segment={} offset={} bytes={}{}", segment_name(segment->number),
                            item.offset, item.size, item.unreadable ? " reason=\"it cannot be read\"" : ""));
            if (item.unreadable) unreadable_.fetch_add(item.size);
          }
        }
      } else if (item.head.kind == RecordKind::event) {
        const Record event = event_in(item.record);
        if (event.sequence < wanted_from || event.sequence >= wanted_to) {
          const std::lock_guard lock(mutex_);
          wanted_from = event.sequence;
          wanted_to = segment->skip.next(event.sequence);
        }
        if (event.sequence < wanted_to) {
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
    if (!backlog.events.empty()) return;
    // Nothing here but what is finished already: the cursor goes on by itself.
    const std::lock_guard lock(mutex_);
    if (!order_.empty() && order_.front() == segment) cursor_ = std::max(cursor_, std::max(reader_->at(), to));
  }
}

void Journal::fed_backlog(const Backlog& backlog) {
  if (backlog.events.empty()) return;
  const std::lock_guard lock(mutex_);
  // Meanwhile the committer may have moved some: then they count as fed where they stand now, and not here.
  std::uint64_t here = backlog.events.size();
  if (redirects_.contains(backlog.segment)) {
    for (const Record& event : backlog.events) {
      const std::uint64_t home = home_of(backlog.segment, event.sequence);
      if (home == backlog.segment) continue;
      --here;
      const auto copies = segments_.find(home);
      if (copies == segments_.end() || copies->second->skip.add(event.sequence, 1) == 0) continue;
      copies->second->unfed -= std::min<std::uint64_t>(copies->second->unfed, 1);
    }
  }
  if (!order_.empty() && order_.front()->number == backlog.segment) {
    Segment& segment = *order_.front();
    cursor_ = std::max(cursor_, reader_->at());
    segment.unfed -= std::min(segment.unfed, here);
    // The committer may be in the midst of copying them: it must see that these are through.
    for (auto run = backlog.events.begin(); run != backlog.events.end();) {
      std::uint64_t count = 1;
      auto next = run + 1;
      for (; next != backlog.events.end() && next->sequence == run->sequence + count; ++next) ++count;
      segment.skip.add(run->sequence, count);
      run = next;
    }
  }
  if (backlog.run == config_.run) fed_sequence_ = std::max(fed_sequence_, backlog.events.back().sequence);
}

}  // namespace sluice::journal
