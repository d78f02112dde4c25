// The journal's own life: committing, failing and recovering from it, settling, removing, feeding. How a run takes over
// what an earlier one left is in recovery.cc. Each named instant is where a test cuts the power.
#include "journal/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "journal/scan.h"
#include "sluice/error.h"

namespace sluice::journal {

namespace {

constexpr std::uint64_t kMostSegment = std::uint64_t{64} << 20U;
constexpr std::uint64_t kSegmentsInLimit = 8;
constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kSettledStep = std::uint64_t{16} << 10U;  // a settled file grows by this
constexpr std::size_t kRangesARecord = 4096;
constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20U;  // of copies written at once
// What a segment costs besides its events: headers, footer, its settled file's first step.
constexpr std::uint64_t kSegmentOverhead = kFirstCommit + kFooterSize + kSettledStep;

std::uint64_t up_to(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

std::uint64_t record_bytes(const Journal::Loose& event) {
  return aligned(kEventFrame + event.content_type.size() + event.payload.size());
}

}  // namespace

Journal::Journal(Disk& disk, Config config)
    : disk_(disk),
      config_(std::move(config)),
      segment_bytes_(std::min(kMostSegment, config_.limit_bytes / kSegmentsInLimit) / kBlock * kBlock),
      usable_bytes_(config_.limit_bytes > segment_bytes_ + config_.spill_bytes
                        ? config_.limit_bytes - segment_bytes_ - config_.spill_bytes
                        : 0) {
  if (usable_bytes_ < 2 * segment_bytes_ || segment_bytes_ < 16 * kBlock) {
    throw StartError(StartError::Kind::unusable,
                     fmt::format("journal: {} bytes are too few; with this queue at least {} are needed",
                                 config_.limit_bytes, (config_.spill_bytes + (std::uint64_t{1} << 20U)) * 8 / 5));
  }
  take_over();
}

Journal::~Journal() = default;

// ---- room

Journal::Room Journal::try_reserve(std::uint64_t bytes) noexcept {
  if (bytes + kSegmentOverhead > usable_bytes_) return Room::never;
  std::uint64_t now = taken_.load();
  do {
    if (now + others_.load() + bytes + kSegmentOverhead > usable_bytes_) {
      pressed_.store(true);
      return Room::full;
    }
  } while (!taken_.compare_exchange_weak(now, now + bytes));
  return Room::reserved;
}

std::uint64_t Journal::physical_bytes() const {
  std::uint64_t bytes = others_.load();
  for (const auto& [number, segment] : segments_) bytes += segment->size + segment->settled_size;
  return bytes;
}

// ---- segments

std::error_code Journal::fail(std::string what, std::error_code error) {
  {
    const std::lock_guard lock(mutex_);
    cause_ = fmt::format("{}: {}", what, error.message());
    // What nobody can vouch for is not fed from here; recover() moves it.
    if (active_ && active_->end > active_->synced) active_->end = active_->synced;
  }
  if (!failed_.exchange(true)) log(LogLevel::error, fmt::format("the journal has failed, {}", cause()));
  return error;
}

std::string Journal::cause() const {
  const std::lock_guard lock(mutex_);
  return cause_;
}

std::error_code Journal::create(SegmentKind kind, const RunId& run, std::uint64_t ordinal, std::uint64_t first_sequence,
                                std::uint64_t size, std::uint64_t events, const Segment* predecessor,
                                SegmentPtr& made) {
  Header header{.kind = kind, .run = run, .ordinal = ordinal, .first_sequence = first_sequence};
  const RunId random = RunId::draw();
  for (const std::uint8_t byte : random.bytes) header.seed = header.seed * 0x100000001B3U + byte;
  if (predecessor != nullptr) {
    header.predecessor = predecessor->number;
    header.predecessor_seed = predecessor->header.seed;
    header.predecessor_end = predecessor->acknowledged_end;
    header.predecessor_synced = predecessor->synced;
    header.predecessor_events = predecessor->synced_events;
    header.predecessor_last = predecessor->synced_last;
  }
  const std::uint64_t number = next_number_++;
  auto segment = std::make_shared<Segment>(number, header);
  segment->first_sequence = first_sequence;
  segment->size = size;
  segment->settled_size = up_to(std::max<std::uint64_t>(1, events * kSettleBytes), kSettledStep);

  const HeaderBytes bytes = encode(header);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  std::error_code error = disk_.open(segment_name(number), Disk::Open::create, segment->file);
  if (!error) error = segment->file->preallocate(size);
  if (!error) error = segment->file->write(0, piece);
  if (!error) error = segment->file->write(kSecondHeader, piece);
  if (!error) error = disk_.open(settled_name(number), Disk::Open::create, segment->settled);
  if (!error) error = segment->settled->preallocate(segment->settled_size);
  if (!error) error = segment->file->sync();
  if (!error) error = segment->settled->sync();
  if (!error) error = disk_.sync_directory();
  if (error) {
    // Nothing in it was ever acknowledged; what is left of it is empty.
    segment->file.reset();
    segment->settled.reset();
    static_cast<void>(disk_.unlink(segment_name(number)));
    static_cast<void>(disk_.unlink(settled_name(number)));
    return error;
  }
  disk_.pass(Instant::after_create);
  segment->charged = kSegmentOverhead;
  taken_.fetch_add(kSegmentOverhead);
  made = std::move(segment);
  return {};
}

// A new segment for what is taken from now on, with room for a commit of `need` bytes.
std::error_code Journal::begin_segment(std::uint64_t need, std::uint64_t first_sequence, const Segment* predecessor) {
  std::uint64_t room = segment_bytes_;
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t used = physical_bytes() + kSettledStep;
    const std::uint64_t most = config_.limit_bytes - segment_bytes_ - config_.spill_bytes;
    room = std::min(room, most > used ? (most - used) / kBlock * kBlock : 0);
  }
  const std::uint64_t size = std::max(room, up_to(kFirstCommit + need + kFooterSize, kBlock));
  SegmentPtr made;
  if (const auto error =
          create(SegmentKind::taken, config_.run, ordinal_, first_sequence, size, 0, predecessor, made)) {
    return error;
  }
  const std::lock_guard lock(mutex_);
  active_ = made;
  segments_[made->number] = made;
  if (order_.empty()) cursor_ = kFirstCommit;
  order_.push_back(std::move(made));
  return {};
}

// The segment is complete: synced, with a footer, and no longer than it has to be.
std::error_code Journal::seal(Segment& segment) {
  if (segment.synced < segment.acknowledged_end) {
    if (const auto error = sync()) return error;
  }
  const Footer footer{.first_sequence = segment.first_sequence,
                      .last_sequence = segment.last_sequence,
                      .events = segment.recorded,
                      .commits = segment.commits,
                      .offset = segment.acknowledged_end};
  const FooterBytes bytes = encode(footer, segment.header.seed);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  const std::uint64_t size = segment.acknowledged_end + kFooterSize;
  std::error_code error = segment.file->write(segment.acknowledged_end, piece);
  if (!error) error = segment.file->truncate(size);
  if (!error) error = segment.file->sync();
  if (error) return fail("seal " + segment_name(segment.number), error);
  segment.size = size;
  return {};
}

std::error_code Journal::room_for_settles(Segment& segment, std::uint64_t events) {
  const std::uint64_t need = events * kSettleBytes;
  if (need <= segment.settled_size || segment.settled_failed) return {};
  const std::uint64_t size = up_to(need, kSettledStep);
  const std::error_code error = segment.settled->preallocate(size);
  if (!error) segment.settled_size = size;
  return error;
}

// ---- committing

std::error_code Journal::commit(std::span<Block* const> blocks, std::uint64_t reserved, bool sync_it, Place& place) {
  assert(!blocks.empty());
  assert(!failed() && "a journal that has failed was written to");
  std::uint64_t length = 2 * kCommitFrame;
  std::uint64_t events = 0;
  for (Block* const block : blocks) {
    length += block->body().size();
    events += block->count();
  }
  const std::uint64_t first = blocks.front()->first_sequence();
  next_sequence_ = std::max(next_sequence_, blocks.back()->first_sequence() + blocks.back()->count());
  if (active_->acknowledged_end + length + kFooterSize > active_->size && active_->events > 0) {
    if (const auto error = seal(*active_)) return error;
    disk_.pass(Instant::at_rotation);
  }
  if (active_->acknowledged_end + length + kFooterSize > active_->size) {
    const SegmentPtr old = active_;
    if (const auto error = begin_segment(length, first, old.get())) {
      return fail("begin " + segment_name(next_number_ - 1), error);
    }
  }

  Segment& segment = *active_;
  if (const auto error = room_for_settles(segment, segment.events + events)) {
    return fail("preallocate " + settled_name(segment.number), error);
  }
  const std::uint64_t begin = segment.acknowledged_end;
  const std::uint64_t seed = segment.header.seed;
  const CommitFrame frame{.first_sequence = first,
                          .events = static_cast<std::uint32_t>(events),
                          .requests = static_cast<std::uint32_t>(blocks.size()),
                          .length = length,
                          .synced = segment.synced};
  const CommitFrameBytes begin_bytes = encode(RecordKind::begin, frame, seed, begin);
  const CommitFrameBytes end_bytes = encode(RecordKind::end, frame, seed, begin + length - kCommitFrame);
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(blocks.size() + 2);
  pieces.emplace_back(begin_bytes);
  place = {segment.number, begin, begin + length, {}};
  place.ends.reserve(blocks.size());
  std::uint64_t at = begin + kCommitFrame;
  for (Block* const block : blocks) {
    const std::span<std::byte> body = block->body();
    for (std::uint32_t i = 0; i < block->count(); ++i) {
      const std::size_t frame_at = block->frame_at(i);
      frame_event(body.data() + frame_at, block->type_size(i), block->payload_size(i),
                  {.sequence = block->first_sequence() + i,
                   .received = block->received(),
                   .begins_request = i == 0,
                   .ends_request = i + 1 == block->count()},
                  seed, at + frame_at);
    }
    pieces.emplace_back(body);
    at += body.size();
    place.ends.push_back(at);
  }
  pieces.emplace_back(end_bytes);

  if (const auto error = segment.file->write(begin, pieces))
    return fail("append " + segment_name(segment.number), error);
  disk_.pass(Instant::after_append);
  if (sync_it) {
    disk_.pass(Instant::before_sync);
    if (const auto error = segment.file->sync()) return fail("sync " + segment_name(segment.number), error);
    DiskFile::Stat stat;
    if (const auto error = segment.file->stat(stat)) return fail("stat " + segment_name(segment.number), error);
    if (stat.links == 0) {
      return fail("sync " + segment_name(segment.number), std::make_error_code(std::errc::no_such_file_or_directory));
    }
    disk_.pass(Instant::after_sync);
    segment.synced = begin + length;
    segment.synced_events = segment.recorded + events;
    segment.synced_last = next_sequence_ - 1;
  }
  segment.acknowledged_end = begin + length;
  segment.recorded += events;
  segment.commits += 1;
  segment.last_sequence = next_sequence_ - 1;
  segment.charged += reserved;
  const std::lock_guard lock(mutex_);
  segment.end = begin + length;
  segment.events += events;
  segment.unfed += events;
  return {};
}

std::error_code Journal::sync() {
  Segment& segment = *active_;
  if (segment.synced == segment.acknowledged_end) return {};
  disk_.pass(Instant::before_sync);
  if (const auto error = segment.file->sync()) return fail("sync " + segment_name(segment.number), error);
  DiskFile::Stat stat;
  if (const auto error = segment.file->stat(stat)) return fail("stat " + segment_name(segment.number), error);
  if (stat.links == 0) {
    return fail("sync " + segment_name(segment.number), std::make_error_code(std::errc::no_such_file_or_directory));
  }
  disk_.pass(Instant::after_sync);
  segment.synced = segment.acknowledged_end;
  segment.synced_events = segment.recorded;
  segment.synced_last = segment.last_sequence;
  return {};
}

// ---- segments that are written in one go

std::error_code Journal::write_closed(SegmentKind kind, const RunId& run, std::uint64_t ordinal,
                                      std::span<const Loose> events, bool sync_it, SegmentPtr& made) {
  std::uint64_t bytes = 0;
  for (const Loose& event : events) bytes += record_bytes(event);
  const std::uint64_t commits = bytes / kPieceBytes + 2;
  const std::uint64_t room = kFirstCommit + bytes + commits * 2 * kCommitFrame + kFooterSize;
  SegmentPtr segment;
  if (const auto error = create(kind, run, ordinal, events.front().sequence, room, events.size(), nullptr, segment)) {
    return error;
  }
  std::error_code error;
  std::vector<std::byte> piece;
  std::size_t next = 0;
  while (next < events.size() && !error) {
    const std::size_t first = next;
    const std::uint64_t begin = segment->acknowledged_end;
    piece.assign(kCommitFrame, std::byte{0});
    for (; next < events.size() && (next == first || piece.size() + record_bytes(events[next]) <= kPieceBytes);
         ++next) {
      const Loose& event = events[next];
      const std::size_t at = piece.size();
      piece.resize(at + record_bytes(event), std::byte{0});
      std::byte* const record = piece.data() + at;
      std::copy_n(reinterpret_cast<const std::byte*>(event.content_type.data()), event.content_type.size(),
                  record + kEventFrame);
      std::copy_n(event.payload.data(), event.payload.size(), record + kEventFrame + event.content_type.size());
      frame_event(record, event.content_type.size(), event.payload.size(),
                  {.sequence = event.sequence, .received = event.received}, segment->header.seed, begin + at);
    }
    const CommitFrame frame{.first_sequence = events[first].sequence,
                            .events = static_cast<std::uint32_t>(next - first),
                            .requests = static_cast<std::uint32_t>(next - first),
                            .length = piece.size() + kCommitFrame,
                            .synced = segment->synced};
    const auto begin_bytes = encode(RecordKind::begin, frame, segment->header.seed, begin);
    std::ranges::copy(begin_bytes, piece.begin());
    const auto end_bytes = encode(RecordKind::end, frame, segment->header.seed, begin + piece.size());
    const std::array<std::span<const std::byte>, 2> pieces{std::span<const std::byte>(piece),
                                                           std::span<const std::byte>(end_bytes)};
    error = segment->file->write(begin, pieces);
    segment->acknowledged_end = begin + frame.length;
    segment->commits += 1;
  }
  segment->last_sequence = events.back().sequence;
  segment->events = events.size();
  const Footer footer{.first_sequence = segment->first_sequence,
                      .last_sequence = segment->last_sequence,
                      .events = segment->events,
                      .commits = segment->commits,
                      .offset = segment->acknowledged_end};
  const FooterBytes footer_bytes = encode(footer, segment->header.seed);
  const std::array<std::span<const std::byte>, 1> pieces{std::span<const std::byte>(footer_bytes)};
  if (!error && sync_it) error = segment->file->sync();  // before the footer says that it was
  if (!error) error = segment->file->write(segment->acknowledged_end, pieces);
  segment->size = segment->acknowledged_end + kFooterSize;
  if (!error) error = segment->file->truncate(segment->size);
  if (!error && sync_it) error = segment->file->sync();
  const std::uint64_t charge = bytes + events.size() * kSettleBytes;
  if (error) {
    taken_.fetch_sub(segment->charged);
    static_cast<void>(disk_.unlink(segment_name(segment->number)));
    static_cast<void>(disk_.unlink(settled_name(segment->number)));
    return error;
  }
  taken_.fetch_add(charge);
  segment->charged += charge;
  segment->synced = segment->end = segment->acknowledged_end;
  made = std::move(segment);
  return {};
}

std::error_code Journal::spill(std::span<const Loose> events, std::uint64_t& number) {
  number = 0;
  if (events.empty()) return {};
  SegmentPtr segment;
  if (const auto error = write_closed(SegmentKind::taken, config_.run, ordinal_, events, true, segment)) return error;
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
  std::vector<Loose> loose;
  IntervalSet moved;
  for (Block* const block : unsynced) {
    if (block->home() != old->number) continue;  // moved by an earlier attempt, or synced with its segment
    for (std::uint32_t i = 0; i < block->count(); ++i) {
      if (old->finished.contains(block->sequence(i))) continue;
      const Delivery event = block->delivery(i);
      loose.push_back({event.id.sequence, event.received, event.content_type, event.payload});
      moved.add(event.id.sequence, 1);
    }
  }
  if (!loose.empty()) {
    std::ranges::sort(loose, {}, &Loose::sequence);
    SegmentPtr copies;
    if (const auto error = write_closed(SegmentKind::copies, config_.run, ordinal_, loose, true, copies)) return error;
    disk_.pass(Instant::after_copy);
    const std::lock_guard lock(mutex_);
    segments_[copies->number] = copies;
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
  }
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

// Writes what is unfinished in a segment that has no name any more into one that has, which takes its turn as well.
std::error_code Journal::rescue(const SegmentPtr& from) {
  std::uint64_t fed_to = UINT64_MAX;  // events before this offset were fed
  {
    const std::lock_guard lock(mutex_);
    normalize_cursor();
    const auto place = std::ranges::find(order_, from);
    if (place != order_.end()) fed_to = place == order_.begin() ? cursor_ : 0;
  }
  std::vector<std::vector<std::byte>> memory;
  std::vector<Loose> loose;
  IntervalSet moved;
  IntervalSet fed;
  RecordReader reader(*from->file, from->header.seed, kFirstCommit, from->acknowledged_end);
  for (auto item = reader.next(); item.what != RecordReader::What::end; item = reader.next()) {
    if (item.what == RecordReader::What::error) return item.error;
    if (item.what != RecordReader::What::record || item.head.kind != RecordKind::event) continue;
    const std::uint64_t sequence = event_in(item.record).sequence;
    if (from->finished.contains(sequence) || from->absent.contains(sequence)) continue;
    memory.emplace_back(item.record.begin(), item.record.end());
    const EventView event = event_in(memory.back());
    loose.push_back({sequence, event.received, event.content_type, event.payload});
    moved.add(sequence, 1);
    if (item.offset < fed_to || from->skip.contains(sequence)) fed.add(sequence, 1);
  }
  if (loose.empty()) return {};
  std::ranges::sort(loose, {}, &Loose::sequence);
  SegmentPtr copies;
  if (const auto error =
          write_closed(SegmentKind::copies, from->header.run, from->header.ordinal, loose, true, copies)) {
    return error;
  }
  const std::lock_guard lock(mutex_);
  segments_[copies->number] = copies;
  copies->skip = std::move(fed);
  copies->unfed = moved.size() - copies->skip.size();
  from->unfed -= std::min(from->unfed, copies->unfed);
  copy_of(*from, moved, copies);
  const auto place = std::ranges::find(order_, from);
  if (place == order_.end()) return {};
  if (place == order_.begin()) cursor_ = kFirstCommit;
  if (from == active_) {
    order_.push_back(copies);  // the active one stays until another is: what is behind the cursor in it is skipped
    if (place == order_.begin()) cursor_ = active_->end;
  } else {
    *place = copies;
  }
  return {};
}

// The events count in `copies` from here, no longer in `from`. Under mutex_.
void Journal::copy_of(Segment& from, const IntervalSet& events, const SegmentPtr& copies) {
  from.events -= std::min(from.events, events.size());
  from.absent.add(events);
  from.skip.add(events);
  Redirect redirect;
  redirect.events = events;
  redirect.to = copies->number;
  redirects_[from.number].push_back(std::move(redirect));
}

// ---- settling

void Journal::settle(std::uint64_t number, std::uint64_t first, std::uint64_t count) {
  if (const auto moved = redirects_.find(number); moved != redirects_.end()) {
    // Rare: some of the segment's events stand elsewhere by now.
    for (std::uint64_t sequence = first; sequence < first + count; ++sequence) {
      const auto to = std::ranges::find_if(
          moved->second, [&](const Redirect& redirect) { return redirect.events.contains(sequence); });
      if (to != moved->second.end()) {
        settle(to->to, sequence, 1);
        continue;
      }
      const std::lock_guard lock(mutex_);
      const auto at = segments_.find(number);
      if (at == segments_.end() || at->second->finished.add(sequence, 1) == 0) continue;
      at->second->unwritten.add(sequence, 1);
      unwritten_settles_ = true;
    }
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto at = segments_.find(number);
  if (at == segments_.end() || at->second->finished.add(first, count) == 0) return;
  at->second->unwritten.add(first, count);
  unwritten_settles_ = true;
}

std::error_code Journal::write_settles(Segment& segment) {
  if (segment.settled_failed) return rewrite_settled(segment);
  std::vector<Range> ranges;
  segment.unwritten.each([&](std::uint64_t first, std::uint64_t count) { ranges.push_back({first, count}); });
  for (std::size_t at = 0; at < ranges.size(); at += kRangesARecord) {
    const auto some = std::span(ranges).subspan(at, std::min(kRangesARecord, ranges.size() - at));
    const std::string record = encode(some, settled_seed(segment.header.seed), segment.settled_end);
    const std::array<std::span<const std::byte>, 1> piece{std::as_bytes(std::span(record))};
    if (const auto error = segment.settled->write(segment.settled_end, piece)) {
      segment.settled_failed = true;
      return error;
    }
    segment.settled_end += aligned(record.size());
  }
  segment.unwritten.clear();
  segment.settled_dirty = true;
  return {};
}

// After a failed write or sync: the file made anew beside the old one, with all that is known.
std::error_code Journal::rewrite_settled(Segment& segment) {
  const std::string draft = settled_name(segment.number) + ".draft";
  static_cast<void>(disk_.unlink(draft));
  std::unique_ptr<DiskFile> file;
  std::error_code error = disk_.open(draft, Disk::Open::create, file);
  if (!error) error = file->preallocate(std::max(segment.settled_size, segment.events * kSettleBytes));
  std::vector<Range> ranges;
  segment.finished.each([&](std::uint64_t first, std::uint64_t count) { ranges.push_back({first, count}); });
  std::uint64_t end = 0;
  for (std::size_t at = 0; at < ranges.size() && !error; at += kRangesARecord) {
    const auto some = std::span(ranges).subspan(at, std::min(kRangesARecord, ranges.size() - at));
    const std::string record = encode(some, settled_seed(segment.header.seed), end);
    const std::array<std::span<const std::byte>, 1> piece{std::as_bytes(std::span(record))};
    error = file->write(end, piece);
    end += aligned(record.size());
  }
  if (!error) error = file->sync();
  if (!error) error = disk_.rename(draft, settled_name(segment.number));
  if (!error) error = disk_.sync_directory();
  if (error) return error;
  segment.settled = std::move(file);
  segment.settled_end = end;
  segment.unwritten.clear();
  segment.settled_failed = segment.settled_dirty = false;
  return {};
}

std::error_code Journal::write_settles() {
  if (!unwritten_settles_) return {};
  disk_.pass(Instant::before_settle);
  std::error_code first;
  bool left = false;
  // Copies of the pointers: the disk is not written under the lock.
  std::vector<SegmentPtr> all;
  for (const auto& [number, segment] : segments_) all.push_back(segment);
  for (const SegmentPtr& segment : all) {
    if (segment->unwritten.empty()) continue;
    // Also of a segment that is about to be removed: until that has lasted, its events would come once more.
    if (const auto error = write_settles(*segment)) {
      if (!first) first = error;
      left = true;
      continue;
    }
    settles_dirty_ = true;
  }
  unwritten_settles_ = left;
  if (!first) disk_.pass(Instant::after_settle);
  return first;
}

std::error_code Journal::sync_settles() {
  std::error_code first = write_settles();
  if (!settles_dirty_) return first;
  for (const auto& [number, segment] : segments_) {
    if (!segment->settled_dirty) continue;
    if (const auto error = segment->settled->sync()) {
      segment->settled_failed = unwritten_settles_ = true;
      if (segment->unwritten.empty())
        segment->finished.each([&](std::uint64_t from, std::uint64_t count) { segment->unwritten.add(from, count); });
      if (!first) first = error;
    }
    segment->settled_dirty = false;
  }
  settles_dirty_ = false;
  return first;
}

// ---- removing

bool Journal::is_finished(const Segment& segment) const {
  return segment.finished.size() + segment.lost >= segment.events;
}

std::vector<Journal::SegmentPtr> Journal::find_finished() {
  std::vector<SegmentPtr> finished;
  const std::lock_guard lock(mutex_);
  normalize_cursor();
  for (const auto& [number, segment] : segments_) {
    const bool in_order = std::ranges::find(order_, segment) != order_.end();
    if (segment != active_ && !in_order && is_finished(*segment) && !is_needed(*segment)) finished.push_back(segment);
  }
  return finished;
}

// It holds copies, and an original is still there: without them, the records in that one would count again. Under
// mutex_.
bool Journal::is_needed(const Segment& copies) const {
  if (copies.header.kind != SegmentKind::copies) return false;
  return std::ranges::any_of(segments_, [&](const auto& entry) {
    const Segment& other = *entry.second;
    bool holds = false;
    const bool newer = other.header.kind == SegmentKind::copies && other.number >= copies.number;
    if (newer || !(other.header.run == copies.header.run)) return false;
    other.absent.each_within(copies.first_sequence, copies.last_sequence + 1,
                             [&](std::uint64_t, std::uint64_t) { holds = true; });
    return holds;
  });
}

void Journal::maintain() {
  const bool pressed = pressed_.exchange(false);
  for (int rounds = 2; rounds > 0; --rounds) {
    bool any = false;
    while (remove(find_finished())) any = true;  // when an original is gone, its copies may go
    if (!pressed || failed() || any || !copy_forward()) return;
  }
}

// True if any is gone.
bool Journal::remove(const std::vector<SegmentPtr>& finished) {
  if (finished.empty()) return false;
  disk_.pass(Instant::before_unlink);
  std::vector<SegmentPtr> removed;
  for (const SegmentPtr& segment : finished) {
    std::error_code error;
    if (segment->damaged) {
      error = disk_.rename(segment_name(segment->number), damaged_name(segment->number));
    } else {
      error = disk_.unlink(segment_name(segment->number));
    }
    // What is still there must keep its settles, and its room: it is tried again. Somebody else's removing will do.
    if (error && error != std::errc::no_such_file_or_directory) continue;
    if (segment->damaged && !error) {
      log(LogLevel::warn, fmt::format("a damaged segment is set aside file={}", damaged_name(segment->number)));
    }
    removed.push_back(segment);
  }
  // Only when the segment is gone for good: without its settles, or its copies, it would come back to life.
  if (removed.empty() || disk_.sync_directory()) return false;
  disk_.pass(Instant::after_unlink);
  for (const SegmentPtr& segment : removed) {
    static_cast<void>(disk_.unlink(settled_name(segment->number)));
    taken_.fetch_sub(segment->charged);
    const std::lock_guard lock(mutex_);
    segments_.erase(segment->number);
  }
  return !removed.empty();
}

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
  std::vector<std::vector<std::byte>> memory;
  std::vector<Loose> loose;
  std::vector<IntervalSet> moved(held.size());
  for (std::size_t i = 0; i < held.size(); ++i) {
    Segment& segment = *held[i];
    RecordReader reader(*segment.file, segment.header.seed, kFirstCommit, segment.acknowledged_end);
    for (auto item = reader.next(); item.what != RecordReader::What::end; item = reader.next()) {
      if (item.what == RecordReader::What::error) return false;
      if (item.what == RecordReader::What::hole && !segment.scanned) segment.damaged = true;
      if (item.what != RecordReader::What::record || item.head.kind != RecordKind::event) continue;
      const std::uint64_t sequence = event_in(item.record).sequence;
      if (segment.finished.contains(sequence) || segment.absent.contains(sequence)) continue;
      memory.emplace_back(item.record.begin(), item.record.end());
      const EventView event = event_in(memory.back());
      loose.push_back({event.sequence, event.received, event.content_type, event.payload});
      moved[i].add(event.sequence, 1);
    }
    if (segment.damaged) return false;
  }
  if (loose.empty()) return false;
  std::ranges::sort(loose, {}, &Loose::sequence);
  SegmentPtr copies;
  if (const auto error = write_closed(SegmentKind::copies, held.front()->header.run, held.front()->header.ordinal,
                                      loose, true, copies)) {
    log(LogLevel::warn, fmt::format("unfinished events could not be copied forward: {}", error.message()));
    return false;
  }
  disk_.pass(Instant::after_copy);
  const std::lock_guard lock(mutex_);
  segments_[copies->number] = copies;
  for (std::size_t i = 0; i < held.size(); ++i) {
    const IntervalSet& events = moved[i];
    copy_of(*held[i], events, copies);
  }
  return true;
}

std::error_code Journal::close() {
  std::error_code first = sync_settles();
  if (failed()) return first ? first : std::make_error_code(std::errc::io_error);
  const SegmentPtr last = active_;
  if (last->events > 0) {
    if (const auto error = seal(*last); error && !first) first = error;
  }
  if (first) return first;
  {
    const std::lock_guard lock(mutex_);
    normalize_cursor();
    std::erase(order_, is_finished(*last) && last->unfed == 0 ? last : nullptr);
    active_.reset();
  }
  maintain();
  return first;
}

// ---- feeding

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
  return !order_.empty() && order_.front()->number == segment && cursor_ == offset;
}

void Journal::fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence) {
  const std::lock_guard lock(mutex_);
  Segment& segment = *order_.front();
  assert(segment.unfed >= events);
  cursor_ = offset;
  segment.unfed -= events;
  fed_sequence_ = std::max(fed_sequence_, last_sequence);
}

void Journal::read_backlog(std::size_t most_events, std::size_t most_bytes, Backlog& backlog) {
  backlog.events.clear();
  backlog.error.clear();
  for (;;) {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    SegmentPtr segment;
    {
      const std::lock_guard lock(mutex_);
      normalize_cursor();
      backlog.lost += std::exchange(late_lost_, 0);
      if (order_.empty() || (order_.front() == active_ && cursor_ >= active_->end)) return;
      segment = order_.front();
      from = cursor_;
      to = segment->end;
    }
    if (reading_ != segment) {
      reading_ = segment;
      reader_ = std::make_unique<RecordReader>(*segment->file, segment->header.seed, from, to);
    }
    reader_->seek(from);
    reader_->extend(to);
    backlog.run = segment->header.run;
    backlog.segment = segment->number;
    std::size_t bytes = 0;
    RecordReader::Item item = reader_->next();
    for (;;) {
      if (item.what == RecordReader::What::error) {
        backlog.error = item.error;
        return;
      }
      if (item.what == RecordReader::What::end) break;
      if (item.what == RecordReader::What::hole) {
        if (!segment->scanned) {
          log(LogLevel::error, fmt::format("the journal is damaged segment={} offset={} bytes={}",
                                           segment_name(segment->number), item.offset, item.size));
          const std::lock_guard lock(mutex_);
          segment->damaged = true;
        }
      } else if (item.head.kind == RecordKind::event) {
        const EventView event = event_in(item.record);
        const bool wanted = [&] {
          const std::lock_guard lock(mutex_);
          return !segment->skip.contains(event.sequence);
        }();
        if (wanted) {
          if (!backlog.events.empty() && bytes + item.size > most_bytes) {
            reader_->seek(item.offset);
            break;
          }
          bytes += item.size;
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
  if (order_.empty() || order_.front()->number != backlog.segment) {
    // Meanwhile its events were moved: there they have been fed as well.
    const auto moved = redirects_.find(backlog.segment);
    if (moved == redirects_.end()) return;
    for (const Redirect& redirect : moved->second) {
      const auto copies = segments_.find(redirect.to);
      if (copies == segments_.end()) continue;
      for (const EventView& event : backlog.events) {
        if (!redirect.events.contains(event.sequence) || copies->second->skip.add(event.sequence, 1) == 0) continue;
        copies->second->unfed -= std::min<std::uint64_t>(copies->second->unfed, 1);
      }
    }
    return;
  }
  Segment& segment = *order_.front();
  cursor_ = reader_->at();
  segment.unfed -= std::min<std::uint64_t>(segment.unfed, backlog.events.size());
  if (backlog.run == config_.run) fed_sequence_ = std::max(fed_sequence_, backlog.events.back().sequence);
}

}  // namespace sluice::journal
