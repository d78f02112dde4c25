// The journal's own life: segments, commits, failure, the end of a run. What happens beside it has files of its own:
// recovery.cc (what an earlier run left), feeding.cc, settling.cc (and removing), copies.cc (events that are written a
// second time). Each named instant is where a test cuts the power.
#include "journal/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "sluice/error.h"

namespace sluice::journal {

namespace {

constexpr std::uint64_t kMostSegment = std::uint64_t{64} << 20U;
constexpr std::uint64_t kSegmentsInLimit = 8;
constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kSettledStep = std::uint64_t{16} << 10U;  // a settled file grows by this
// What a segment costs besides its events: headers, footer, its settled file's first step.
constexpr std::uint64_t kSegmentOverhead = kFirstCommit + kFooterSize + kSettledStep;

std::uint64_t segment_bytes_for(std::uint64_t limit_bytes) {
  return std::min(kMostSegment, limit_bytes / kSegmentsInLimit) / kBlock * kBlock;
}

std::uint64_t up_to(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

}  // namespace

Journal::Journal(Disk& disk, Config config)
    : disk_(disk),
      config_(std::move(config)),
      segment_bytes_(segment_bytes_for(config_.limit_bytes)),
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

std::size_t Journal::most_segments(std::uint64_t limit_bytes) noexcept {
  const std::uint64_t full = limit_bytes / std::max(kBlock, segment_bytes_for(limit_bytes));
  return static_cast<std::size_t>(full + full / 4 + kSegmentsInLimit);
}

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

bool Journal::has_room(std::uint64_t bytes) const noexcept {
  return taken_.load() + others_.load() + bytes + kSegmentOverhead <= usable_bytes_;
}

std::uint64_t Journal::reserved() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = taken_.load();
  for (const auto& [number, segment] : segments_) bytes -= segment->charged;
  return bytes;
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
  const std::string name = kind == SegmentKind::copies ? draft_name(segment_name(number)) : segment_name(number);
  std::error_code error = disk_.open(name, Disk::Open::create, segment->file);
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
    static_cast<void>(disk_.unlink(name));
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
  if (error) return fail("seal " + segment_name(segment.number), error);
  error = sync_file(segment);
  if (error) return error;
  segment.size = size;
  segment.sealed = true;
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

namespace {

constexpr std::uint64_t kAhead = std::uint64_t{128} << 10U;
constexpr std::uint64_t kSmallCommit = kAhead / 4;
constexpr std::array<std::byte, kBlock> kZeros{};

// Behind a commit that ends here: zeros, where there are zeros already. Room that is only preallocated is entered in
// the file system's books by the first sync of it, which takes as long again as the data do; so that is done for many
// small commits in one go. For a large one as much would be written again as is saved.
void add_zeros(Segment& segment, std::uint64_t end, std::vector<std::span<const std::byte>>& pieces) {
  if (end <= segment.fresh) return;
  segment.fresh = std::min((end + kAhead) / kBlock * kBlock, segment.size);
  for (std::uint64_t at = end; at < segment.fresh; at += pieces.back().size()) {
    pieces.push_back(std::span(kZeros).first(std::min(segment.fresh - at, kBlock - at % kBlock)));
  }
}

}  // namespace

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
  if (sync_it && length <= kSmallCommit) add_zeros(segment, begin + length, pieces);

  if (const auto error = segment.file->write(begin, pieces))
    return fail("append " + segment_name(segment.number), error);
  disk_.pass(Instant::after_append);
  if (sync_it) {
    if (const auto error = sync_file(segment)) return error;
    segment.synced = begin + length;
    segment.synced_events = segment.recorded + events;
    segment.synced_last = next_sequence_ - 1;
  }
  segment.acknowledged_end = begin + length;
  segment.recorded += events;
  segment.commits += 1;
  if (segment.events == 0) segment.first_sequence = first;
  segment.last_sequence = next_sequence_ - 1;
  segment.charged += reserved;
  const std::lock_guard lock(mutex_);
  segment.events += events;
  segment.unfed += events;
  return {};
}

std::error_code Journal::sync() {
  Segment& segment = *active_;
  if (segment.synced == segment.acknowledged_end) return {};
  if (const auto error = sync_file(segment)) return error;
  segment.synced = segment.acknowledged_end;
  segment.synced_events = segment.recorded;
  segment.synced_last = segment.last_sequence;
  return {};
}

// A file that somebody has removed takes every write and every sync, and is gone with the process.
std::error_code Journal::sync_named(DiskFile& file) {
  if (const auto error = file.sync()) return error;
  return look_for_name(file);
}

std::error_code Journal::look_for_name(DiskFile& file) {
  DiskFile::Stat stat;
  if (const auto error = file.stat(stat)) return error;
  return stat.links > 0 ? std::error_code() : std::make_error_code(std::errc::no_such_file_or_directory);
}

std::error_code Journal::sync_file(Segment& segment) {
  disk_.pass(Instant::before_sync);
  if (const auto error = sync_named(*segment.file)) return fail("sync " + segment_name(segment.number), error);
  disk_.pass(Instant::after_sync);
  return {};
}

// ---- the end of a run

std::error_code Journal::close() {
  std::error_code first = sync_settles();
  if (failed()) return first ? first : std::make_error_code(std::errc::io_error);
  const SegmentPtr last = active_;
  bool goes = false;
  {
    const std::lock_guard lock(mutex_);
    normalize_cursor();
    goes = last->unfed == 0 && is_finished(*last);
  }
  // What goes is neither sealed nor synced. But nobody else would see that somebody has removed it, and all that it is
  // behind.
  if (!goes) {
    if (const auto error = seal(*last); error && !first) first = error;
  } else if (const auto error = look_for_name(*last->file)) {
    static_cast<void>(fail("close " + segment_name(last->number), error));
    if (!first) first = error;
  }
  if (first) return first;
  {
    const std::lock_guard lock(mutex_);
    if (goes) std::erase(order_, last);
    active_.reset();
  }
  maintain();
  return first;
}

}  // namespace sluice::journal
