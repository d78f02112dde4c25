// Events that are written as a segment of their own, whole and synced: those that had no record yet (spill), the few
// that hold their segment (copy_forward), and whatever rescue.cc and tails.cc have to bring to safety. The committer's
// thread. However many events there are, one piece of them is in memory at a time.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "journal/event_reader.h"
#include "journal/journal.h"
#include "sluice/error.h"

namespace sluice::journal {

// What a successor's header would say of it stands in its own: all of it was synced before it has a name.
std::error_code Journal::write_own_extent(Segment& segment) {
  Header& header = segment.header;
  header.predecessor_end = header.predecessor_synced = segment.acknowledged_end + kFooterSize;
  header.predecessor_events = segment.events;
  header.predecessor_last = segment.last_sequence;
  const HeaderBytes bytes = encode(header);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  if (const auto error = segment.file->write(0, piece)) return error;
  return segment.file->write(kSecondHeader, piece);
}

// What a segment of its own takes for them.
std::uint64_t Journal::room_of_copies(const Extent& most) {
  return kFirstCommit + most.bytes + (most.bytes / kPieceBytes + 2) * 2 * kCommitFrame + kFooterSize;
}

// Nothing is made of no events. On an error nothing counts that is left of it. Copies get their name when all of them
// are synced: half of them, beside originals that a power cut may still take, would be half of a request.
std::error_code Journal::write_closed(SegmentKind kind, const RunId& run, std::uint64_t ordinal, const Extent& most,
                                      const Source& source, SegmentPtr& made) {
  std::error_code error;
  std::optional<Record> event = source(error);
  if (error || !event) return error;
  // One such name at a time, or a disk that stays bad would leave more and more of them.
  if (kind == SegmentKind::copies) error = remove_unmade();
  if (error) return error;
  const std::uint64_t room = room_of_copies(most);
  SegmentPtr segment;
  error = create(kind, run, ordinal, event->sequence, room, room, most.events, nullptr, segment);
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
  if (!error && kind == SegmentKind::copies) {
    error = write_header_copy(*segment->settled, *segment);
    if (!error) error = segment->settled->sync();
  }
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
    charge(*segment, 0);
    static_cast<void>(disk_.unlink(draft_name(name)));
    static_cast<void>(disk_.unlink(settled_name(segment->number)));
    unmade_.push_back(name);
    static_cast<void>(remove_unmade());
    return error;
  }
  charge(*segment, segment->charged + bytes + segment->events * kSettleBytes);
  charge_physical(*segment);
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
  enter(copies);
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

std::error_code Journal::spill(std::span<const Record> events, std::uint64_t& number) {
  number = 0;
  if (!taken_over_) return std::make_error_code(std::errc::io_error);  // who knows what it would come to stand beside
  if (const auto error = disk_.hold()) return error;  // where nothing is ever committed nobody has seen it removed
  Extent most;
  for (const Record& event : events) most.add(record_bytes(event));
  SegmentPtr segment;
  const Source source = [&, next = events.begin()](std::error_code&) mutable {
    return next == events.end() ? std::nullopt : std::optional(*next++);
  };
  if (const auto error = write_closed(SegmentKind::taken, config_.run, ordinal_, most, source, segment)) return error;
  if (!segment) return {};
  number = segment->number;
  const std::lock_guard lock(mutex_);
  enter(segment);  // not in the order of feeding: its events are in memory
  return {};
}

// ---- copying forward

// The disk that the journal may have has room for so many bytes of copies, and for what comes with them.
bool Journal::room_for_copies(std::uint64_t bytes, std::uint64_t events) const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t used = physical_bytes() + config_.spill_bytes + room_of_copies({bytes, events}) +
                             kHeaderCopySize + events * kSettleBytes + kSettledStep;
  // A new segment has to begin beside them.
  return used + least_segment(0) + kSettledStep <= config_.limit_bytes;
}

// The oldest segments that few events hold. They are neighbours: of two that are copied around a third the younger
// one's events would come before that one's at the next start.
std::vector<Journal::Held> Journal::find_held() const {
  std::vector<Held> held;
  const std::lock_guard lock(mutex_);
  std::unordered_set<const Segment*> unfed;
  for (const SegmentPtr& segment : order_) unfed.insert(segment.get());
  std::vector<SegmentPtr> all;
  for (const auto& [number, segment] : segments_) all.push_back(segment);
  std::ranges::sort(all, [](const SegmentPtr& a, const SegmentPtr& b) { return turn_of(*a) < turn_of(*b); });
  std::uint64_t bytes = 0;
  for (const SegmentPtr& segment : all) {
    const std::uint64_t left = segment->events - std::min(segment->events, segment->finished.size());
    const std::uint64_t content = segment->acknowledged_end - kFirstCommit;
    const std::uint64_t estimate = segment->events == 0 ? 0 : content / segment->events * left;
    const bool eligible = segment != active_ && !segment->damaged && !unfed.contains(segment.get()) && left > 0 &&
                          (segment->not_worth == 0 || left < segment->not_worth) && estimate <= content / 4 &&
                          bytes + estimate <= segment_bytes_ / 2;
    const bool neighbour = held.empty() || segment->header.run == held.front().segment->header.run;
    if (eligible && neighbour) {
      bytes += estimate;
      held.push_back({segment, left, {}});
    } else if (!held.empty()) {
      break;
    }
  }
  return held;
}

// How much it is, and whether all of it is intact, has to be known before the first byte is written. Those that are
// found unfit are dropped, with all behind them; an error where none is left.
std::error_code Journal::measure(std::vector<Held>& held, Extent& extent) {
  std::error_code error;
  for (std::size_t at = 0; at < held.size(); ++at) {
    Segment& segment = *held[at].segment;
    Extent of_it;
    EventReader reading(segment, kFirstCommit, segment.acknowledged_end);
    while (const auto event = reading.next([&](std::uint64_t sequence, std::uint64_t) {
      return !segment.finished.contains(sequence) && !segment.absent.contains(sequence);
    })) {
      of_it.add(record_bytes(*event));
    }
    error = reading.error();
    if (!error && reading.holes()) {
      error = std::make_error_code(std::errc::io_error);
      const std::lock_guard lock(mutex_);
      segment.damaged = true;
    }
    const std::uint64_t content = segment.acknowledged_end - kFirstCommit;
    const Extent all{extent.bytes + of_it.bytes, extent.events + of_it.events};
    const bool fits = of_it.bytes <= content / 2 && (at == 0 || all.bytes <= segment_bytes_ / 2) &&
                      room_for_copies(all.bytes, all.events);
    if (!error && !fits) error = std::make_error_code(std::errc::file_too_large);
    if (error) {
      if (at == 0) segment.not_worth = held[at].left;  // others are tried first
      held.resize(at);
      break;
    }
    extent = all;
  }
  return held.empty() ? error : std::error_code();
}

// The oldest segments are held by a few events: these are written once more, and the segments can go. Nothing was to be
// copied: no error, and none are.
std::error_code Journal::copy_forward(bool& copied) {
  std::vector<Held> held = find_held();
  if (held.empty()) return {};
  // What is finished is left behind. Were that not on disk, it would come once more at the next start, out of its
  // order.
  if (const auto error = sync_settles()) return error;
  Extent extent;
  if (const auto error = measure(held, extent)) return error;
  std::size_t at = 0;
  std::optional<EventReader> reading;
  const auto unfinished = [&](std::uint64_t sequence, std::uint64_t) {
    return !held[at].segment->finished.contains(sequence) && !held[at].segment->absent.contains(sequence);
  };
  const Source source = [&](std::error_code& error) -> std::optional<Record> {
    for (; at < held.size(); ++at, reading.reset()) {
      const Segment& segment = *held[at].segment;
      if (!reading) reading.emplace(segment, kFirstCommit, segment.acknowledged_end);
      const auto event = reading->next(unfinished);
      error = reading->error();
      if (!error && reading->holes()) error = std::make_error_code(std::errc::io_error);
      if (error) return std::nullopt;
      if (!event) continue;
      held[at].moved.add(event->sequence, 1);
      return event;
    }
    return std::nullopt;
  };
  const Header& oldest = held.front().segment->header;
  SegmentPtr copies;
  if (const auto error = write_closed(SegmentKind::copies, oldest.run, oldest.ordinal, extent, source, copies)) {
    return error;
  }
  if (!copies) return {};
  disk_.pass(Instant::after_copy);
  copies->is_home = false;
  const std::lock_guard lock(mutex_);
  for (const Held& one : held) {
    if (!one.moved.empty()) copy_of(*one.segment, one.moved, copies);
  }
  copied = true;
  return {};
}

}  // namespace sluice::journal
