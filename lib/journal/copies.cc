// Events that are written as a segment of their own, whole and synced: those that had no record yet (spill), and those
// that have to leave the segment in which they stand: it failed (recover), somebody removed it (rescue), a power cut
// could still take them (rewrite_tail), or they are the few that hold it (copy_forward). The committer's thread.
// However many there are, no more than a piece of them is in memory.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "journal/journal.h"
#include "sluice/error.h"

namespace sluice::journal {

namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20U;  // written at once, but for an event that is larger

std::uint64_t record_bytes(const Journal::Loose& event) {
  return aligned(kEventFrame + event.content_type.size() + event.payload.size());
}

Journal::Loose loose(const EventView& event) {
  return {event.sequence, event.received, event.content_type, event.payload};
}

// The events of a stretch of a segment, one by one: those that the caller wants.
class Reading {
 public:
  Reading(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to) : reader_(file, seed, from, to) {}

  // `wants(sequence, offset)`. Nothing: no more of them, or error(). The view is valid until the next call.
  template <typename Wants>
  std::optional<Journal::Loose> next(const Wants& wants) {
    for (auto item = reader_.next(); item.what != RecordReader::What::end; item = reader_.next()) {
      if (item.what == RecordReader::What::error) {
        error_ = reader_.error();
        return std::nullopt;
      }
      holes_ = holes_ || item.what == RecordReader::What::hole;
      if (item.what != RecordReader::What::record || item.head.kind != RecordKind::event) continue;
      const EventView event = event_in(item.record);
      if (wants(event.sequence, item.offset)) return loose(event);
    }
    return std::nullopt;
  }
  [[nodiscard]] std::error_code error() const { return error_; }
  [[nodiscard]] bool holes() const { return holes_; }

 private:
  RecordReader reader_;
  std::error_code error_;
  bool holes_ = false;
};

// The same by requests: of one that is not whole any more nothing comes out. A page that was there a moment ago may be
// what an older disk had when it is read again: a failed sync calls such pages clean, and the kernel drops them.
class WholeRequests {
 public:
  WholeRequests(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to, const IntervalSet& wanted)
      : reader_(file, seed, from, to), wanted_(wanted) {}

  std::optional<Journal::Loose> next() {
    if (given_ == request_.size() && !read_request()) return std::nullopt;
    return loose(event_in(request_[given_++]));
  }
  [[nodiscard]] std::error_code error() const { return error_; }

 private:
  bool read_request() {
    begin_anew(false);
    for (auto item = reader_.next(); item.what != RecordReader::What::end; item = reader_.next()) {
      if (item.what == RecordReader::What::error) {
        error_ = reader_.error();
        return false;
      }
      if (item.what != RecordReader::What::record || item.head.kind != RecordKind::event) {
        begin_anew(false);
        continue;
      }
      if (item.head.begins_request) begin_anew(true);
      if (open_ && !item.head.begins_request && item.offset != end_) begin_anew(false);
      end_ = item.offset + item.size;
      if (open_ && wanted_.contains(event_in(item.record).sequence)) {
        request_.emplace_back(item.record.begin(), item.record.end());
      }
      if (item.head.ends_request && open_ && !request_.empty()) return true;
    }
    begin_anew(false);
    return false;
  }
  void begin_anew(bool open) {
    request_.clear();
    given_ = 0;
    open_ = open;
  }

  RecordReader reader_;
  const IntervalSet& wanted_;
  std::vector<std::vector<std::byte>> request_;
  std::size_t given_ = 0;
  bool open_ = false;
  std::uint64_t end_ = 0;
  std::error_code error_;
};

}  // namespace

// What a successor's header would say of it stands in its own: all of it was synced before it has a name.
std::error_code Journal::write_own_extent(Segment& segment) {
  Header header = segment.header;
  header.predecessor_end = header.predecessor_synced = segment.acknowledged_end + kFooterSize;
  header.predecessor_events = segment.events;
  header.predecessor_last = segment.last_sequence;
  const HeaderBytes bytes = encode(header);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  if (const auto error = segment.file->write(0, piece)) return error;
  return segment.file->write(kSecondHeader, piece);
}

// Nothing is made of no events. On an error nothing counts that is left of it. Copies get their name when all of them
// are synced: half of them, beside originals that a power cut may still take, would be half of a request.
std::error_code Journal::write_closed(SegmentKind kind, const RunId& run, std::uint64_t ordinal, const Extent& most,
                                      const Source& source, SegmentPtr& made) {
  std::error_code error;
  std::optional<Loose> event = source(error);
  if (error || !event) return error;
  // One such name at a time, or a disk that stays bad would leave more and more of them.
  if (kind == SegmentKind::copies) error = remove_unmade();
  if (error) return error;
  const std::uint64_t room =
      kFirstCommit + most.bytes + (most.bytes / kPieceBytes + 2) * 2 * kCommitFrame + kFooterSize;
  SegmentPtr segment;
  error = create(kind, run, ordinal, event->sequence, room, most.events, nullptr, segment);
  if (error) return error;

  std::uint64_t bytes = 0;
  segment->last_sequence = event->sequence;
  std::vector<std::byte> piece;
  while (event && !error) {
    const std::uint64_t begin = segment->acknowledged_end;
    CommitFrame frame{.first_sequence = event->sequence, .synced = segment->synced};
    piece.assign(kCommitFrame, std::byte{0});
    while (event && (frame.events == 0 || piece.size() + record_bytes(*event) <= kPieceBytes)) {
      const std::size_t at = piece.size();
      piece.resize(at + record_bytes(*event), std::byte{0});
      std::byte* const record = piece.data() + at;
      std::copy_n(reinterpret_cast<const std::byte*>(event->content_type.data()), event->content_type.size(),
                  record + kEventFrame);
      std::copy_n(event->payload.data(), event->payload.size(), record + kEventFrame + event->content_type.size());
      frame_event(record, event->content_type.size(), event->payload.size(),
                  {.sequence = event->sequence, .received = event->received}, segment->header.seed, begin + at);
      segment->first_sequence = std::min(segment->first_sequence, event->sequence);
      segment->last_sequence = std::max(segment->last_sequence, event->sequence);
      frame.events += 1;
      event = source(error);
      if (error) break;
    }
    if (error) break;
    frame.requests = frame.events;
    frame.length = piece.size() + kCommitFrame;
    bytes += frame.length;
    segment->events += frame.events;
    const auto begin_bytes = encode(RecordKind::begin, frame, segment->header.seed, begin);
    std::ranges::copy(begin_bytes, piece.begin());
    const auto end_bytes = encode(RecordKind::end, frame, segment->header.seed, begin + piece.size());
    const std::array<std::span<const std::byte>, 2> pieces{std::span<const std::byte>(piece),
                                                           std::span<const std::byte>(end_bytes)};
    error = segment->file->write(begin, pieces);
    segment->acknowledged_end = begin + frame.length;
    segment->commits += 1;
  }
  const Footer footer{.first_sequence = segment->first_sequence,
                      .last_sequence = segment->last_sequence,
                      .events = segment->events,
                      .commits = segment->commits,
                      .offset = segment->acknowledged_end};
  if (!error && kind == SegmentKind::copies) error = write_own_extent(*segment);
  const FooterBytes footer_bytes = encode(footer, segment->header.seed);
  const std::array<std::span<const std::byte>, 1> pieces{std::span<const std::byte>(footer_bytes)};
  if (!error) error = segment->file->sync();  // before the footer says that it was
  if (!error) error = segment->file->write(segment->acknowledged_end, pieces);
  segment->size = segment->acknowledged_end + kFooterSize;
  if (!error) error = segment->file->truncate(segment->size);
  if (!error) error = segment->file->sync();
  const std::string name = segment_name(segment->number);
  if (!error && kind == SegmentKind::copies) {
    error = disk_.rename(draft_name(name), name);
    if (!error) error = disk_.sync_directory();
  }
  if (error) {
    taken_.fetch_sub(segment->charged);
    static_cast<void>(disk_.unlink(draft_name(name)));
    static_cast<void>(disk_.unlink(settled_name(segment->number)));
    unmade_.push_back(name);
    static_cast<void>(remove_unmade());
    return error;
  }
  const std::uint64_t charge = bytes + segment->events * kSettleBytes;
  taken_.fetch_add(charge);
  segment->charged += charge;
  segment->sealed = true;
  segment->synced = segment->end = segment->acknowledged_end;
  segment->recorded = segment->synced_events = segment->events;
  segment->synced_last = segment->last_sequence;
  made = std::move(segment);
  return {};
}

// The next start would take one that could not be made, if it still had its name: then its events would come back,
// though they were settled where they count meanwhile. So nothing is settled for good, and no segment goes, before that
// name has.
std::error_code Journal::remove_unmade() {
  if (unmade_.empty()) return {};
  for (const std::string& name : unmade_) {
    if (const auto error = disk_.unlink(name); error && error != std::errc::no_such_file_or_directory) return error;
  }
  if (const auto error = disk_.sync_directory()) return error;
  unmade_.clear();
  return {};
}

// The events count in `copies` from here, no longer in `from`. Under mutex_.
void Journal::copy_of(Segment& from, const IntervalSet& events, const SegmentPtr& copies) {
  segments_[copies->number] = copies;
  from.events -= std::min(from.events, events.size());
  from.absent.add(events);
  from.skip.add(events);
  // Who names an older home of theirs is sent straight here: an event that its sink never takes moves without end, and
  // must leave no trail.
  for (auto& [home, redirects] : redirects_) {
    for (std::size_t i = redirects.size(); i-- > 0;) {
      if (redirects[i].to != from.number) continue;
      IntervalSet here = redirects[i].events.common(events);
      if (here.empty()) continue;
      redirects[i].events = redirects[i].events.without(here);
      redirects.push_back({std::move(here), copies->number});
    }
    std::erase_if(redirects, [](const Redirect& one) { return one.events.empty(); });
  }
  if (from.is_home) redirects_[from.number].push_back({events, copies->number});
}

// ---- spilling

std::error_code Journal::spill(std::span<const Loose> events, std::uint64_t& number) {
  number = 0;
  if (const auto error = disk_.hold()) return error;  // where nothing is ever committed nobody has seen it removed
  Extent most;
  for (const Loose& event : events) most.add(record_bytes(event));
  SegmentPtr segment;
  const Source source = [&, next = events.begin()](std::error_code&) mutable {
    return next == events.end() ? std::nullopt : std::optional(*next++);
  };
  if (const auto error = write_closed(SegmentKind::taken, config_.run, ordinal_, most, source, segment)) return error;
  if (!segment) return {};
  number = segment->number;
  const std::lock_guard lock(mutex_);
  segments_[number] = std::move(segment);  // not in the order of feeding: its events are in memory
  return {};
}

// ---- failure and what follows

std::error_code Journal::recover(std::span<Block* const> unsynced) {
  assert(failed());
  if (const auto error = disk_.hold()) return error;
  const SegmentPtr old = active_;
  if (const auto error = move_unsynced(unsynced, old)) return error;
  // Somebody removed the directory: what the files held is still to be read through their descriptors, and nowhere
  // else.
  std::vector<SegmentPtr> removed;
  for (const auto& [number, segment] : segments_) {
    DiskFile::Stat stat;
    if (!segment->file->stat(stat) && stat.links == 0) removed.push_back(segment);
  }
  for (const SegmentPtr& segment : removed) {
    if (const auto error = rescue(segment)) return error;
  }
  if (const auto error = begin_segment(0, next_sequence_, old.get())) return error;
  failed_.store(false);
  log(LogLevel::warn, "the journal works again");
  return {};
}

// What was committed and not synced, and is not finished, goes from the segment that failed into one of its own.
std::error_code Journal::move_unsynced(std::span<Block* const> unsynced, const SegmentPtr& old) {
  std::vector<Loose> events;
  Extent most;
  IntervalSet moved;
  for (Block* const block : unsynced) {
    if (block->home() != old->number) continue;  // moved by an earlier attempt, or synced with its segment
    for (std::uint32_t i = 0; i < block->count(); ++i) {
      if (old->finished.contains(block->sequence(i))) continue;
      const Delivery event = block->delivery(i);
      events.push_back({event.id.sequence, event.received, event.content_type, event.payload});
      most.add(record_bytes(events.back()));
      moved.add(event.id.sequence, 1);
    }
  }
  std::ranges::sort(events, {}, &Loose::sequence);
  SegmentPtr copies;
  const Source source = [&, next = events.begin()](std::error_code&) mutable {
    return next == events.end() ? std::nullopt : std::optional(*next++);
  };
  if (const auto error = write_closed(SegmentKind::copies, config_.run, ordinal_, most, source, copies)) return error;
  if (!copies) return {};
  disk_.pass(Instant::after_copy);
  const std::lock_guard lock(mutex_);
  copy_of(*old, moved, copies);
  moved.each([&](std::uint64_t first, std::uint64_t count) {
    const std::uint64_t fed_to = std::min(first + count, fed_sequence_ + 1);
    if (fed_to > first) copies->skip.add(first, fed_to - first);
  });
  copies->unfed = moved.size() - copies->skip.size();
  old->unfed -= std::min(old->unfed, copies->unfed);
  order_.push_back(copies);
  // At once: if what follows fails, the next attempt must not copy them a second time.
  for (Block* const block : unsynced) {
    if (block->home() == old->number) block->settle_in(copies->number);
  }
  return {};
}

// Writes what is unfinished in a segment that has no name any more into one that has, which takes its turn as well.
std::error_code Journal::rescue(const SegmentPtr& from) {
  std::uint64_t fed_to = UINT64_MAX;  // events before this offset were fed
  {
    const std::lock_guard lock(mutex_);
    normalize_cursor();
    const auto place = std::ranges::find(order_, from);
    if (place != order_.end()) fed_to = place == order_.begin() ? cursor_ : 0;
  }
  IntervalSet moved;
  IntervalSet fed;
  Reading reading(*from->file, from->header.seed, kFirstCommit, from->acknowledged_end);
  const Source source = [&](std::error_code& error) {
    std::uint64_t at = 0;
    const auto event = reading.next([&](std::uint64_t sequence, std::uint64_t offset) {
      at = offset;
      return !from->finished.contains(sequence) && !from->absent.contains(sequence);
    });
    error = reading.error();
    if (event) {
      moved.add(event->sequence, 1);
      const std::lock_guard lock(mutex_);
      if (at < fed_to || from->skip.contains(event->sequence)) fed.add(event->sequence, 1);
    }
    return event;
  };
  SegmentPtr copies;
  if (const auto error = write_closed(SegmentKind::copies, from->header.run, from->header.ordinal,
                                      {from->acknowledged_end - kFirstCommit, from->events}, source, copies)) {
    return error;
  }
  if (!copies) return {};
  const std::lock_guard lock(mutex_);
  fed.add(moved.common(from->skip));  // the feeder went on meanwhile
  copies->skip = std::move(fed);
  copies->unfed = moved.size() - copies->skip.size();
  from->unfed -= std::min(from->unfed, copies->unfed);
  copy_of(*from, moved, copies);
  const auto place = std::ranges::find(order_, from);
  if (place == order_.end()) return {};
  const bool at_cursor = place == order_.begin();
  if (from == active_) {
    order_.push_back(copies);  // the active one stays until another is: what is behind the cursor in it is skipped
    if (at_cursor) cursor_ = active_->end;
  } else {
    if (at_cursor) cursor_ = kFirstCommit;
    *place = copies;
  }
  return {};
}

// ---- what a power cut could still take

// See the top of recovery.cc. `tail` is what counts behind the offset that was synced last.
void Journal::rewrite_tail(const SegmentPtr& from, const IntervalSet& tail) {
  Segment& segment = *from;
  const IntervalSet wanted = tail.without(segment.finished).without(segment.absent);
  if (wanted.empty()) return;
  WholeRequests requests(*segment.file, segment.header.seed, segment.synced, segment.acknowledged_end, wanted);
  IntervalSet moved;
  const Source source = [&](std::error_code& error) {
    const auto event = requests.next();
    error = requests.error();
    if (event) moved.add(event->sequence, 1);
    return event;
  };
  SegmentPtr copies;
  if (const auto error = write_closed(SegmentKind::copies, segment.header.run, segment.header.ordinal,
                                      {segment.acknowledged_end - segment.synced, wanted.size()}, source, copies)) {
    throw StartError(StartError::Kind::io,
                     fmt::format("write {}: {}", segment_name(next_number_ - 1), error.message()));
  }
  if (copies) {
    disk_.pass(Instant::after_copy);
    segment.unfed -= std::min(segment.unfed, moved.size());
    copies->unfed = copies->events;
    copy_of(segment, moved, copies);
  }
  const IntervalSet gone = wanted.without(moved);
  if (gone.empty()) return;
  log(LogLevel::error, fmt::format("what was written and not synced cannot be read again segment={} events={}",
                                   segment_name(segment.number), gone.size()));
  segment.events -= std::min(segment.events, gone.size());
  segment.unfed -= std::min(segment.unfed, gone.size());
  segment.absent.add(gone);
  segment.skip.add(gone);
}

// ---- what holds a segment

// The oldest segments are held by a few events: these are written once more, and the segments can go. True if any did.
bool Journal::copy_forward() {
  std::vector<SegmentPtr> held;
  {
    const std::lock_guard lock(mutex_);
    std::uint64_t bytes = 0;
    for (const auto& [number, segment] : segments_) {
      if (segment == active_ || segment->damaged || std::ranges::find(order_, segment) != order_.end()) continue;
      if (!held.empty() && !(segment->header.run == held.front()->header.run)) continue;
      const std::uint64_t left = segment->events - std::min(segment->events, segment->finished.size());
      const std::uint64_t content = segment->acknowledged_end - kFirstCommit;
      const std::uint64_t estimate = segment->events == 0 ? 0 : content / segment->events * left;
      if (left == 0 || estimate > content / 4 || bytes + estimate > segment_bytes_ / 2) continue;
      bytes += estimate;
      held.push_back(segment);
    }
  }
  if (held.empty()) return false;
  std::ranges::sort(held, {}, [](const SegmentPtr& segment) { return segment->header.first_sequence; });

  // Read twice: how much it is, and whether all of it is intact, has to be known before the first byte is written.
  std::vector<IntervalSet> moved(held.size());
  std::size_t at = 0;
  std::optional<Reading> reading;
  const auto unfinished = [&](std::uint64_t sequence, std::uint64_t) {
    return !held[at]->finished.contains(sequence) && !held[at]->absent.contains(sequence);
  };
  const Source source = [&](std::error_code& error) -> std::optional<Loose> {
    for (; at < held.size(); ++at, reading.reset()) {
      const Segment& segment = *held[at];
      if (!reading) reading.emplace(*segment.file, segment.header.seed, kFirstCommit, segment.acknowledged_end);
      const auto event = reading->next(unfinished);
      error = reading->error();
      if (!error && reading->holes()) error = std::make_error_code(std::errc::io_error);
      if (error) return std::nullopt;
      if (!event) continue;
      moved[at].add(event->sequence, 1);
      return event;
    }
    return std::nullopt;
  };
  Extent extent;
  std::error_code error;
  for (auto event = source(error); event; event = source(error)) extent.add(record_bytes(*event));
  if (error) {
    if (reading && reading->holes()) held[at]->damaged = true;
    return false;
  }
  at = 0;
  for (IntervalSet& events : moved) events.clear();
  SegmentPtr copies;
  error =
      write_closed(SegmentKind::copies, held.front()->header.run, held.front()->header.ordinal, extent, source, copies);
  if (error) {
    log(LogLevel::warn, fmt::format("unfinished events could not be copied forward: {}", error.message()));
    return false;
  }
  if (!copies) return false;
  disk_.pass(Instant::after_copy);
  copies->is_home = false;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (!moved[i].empty()) copy_of(*held[i], moved[i], copies);
  }
  return true;
}

}  // namespace sluice::journal
