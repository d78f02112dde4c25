// The journal's own life: segments, commits, failure, the end of a run. What happens beside it has files of its own:
// recovery.cc (what an earlier run left), feeding.cc, settling.cc (and removing), copies.cc (events that are written a
// second time), tails.cc (how the segments of earlier runs end), rescue.cc (how a journal that has failed goes on).
// Each named instant is where a test cuts the power.
#include "journal/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "journal/tail_copy.h"
#include "sluice/error.h"

namespace sluice::journal {

namespace {

constexpr std::uint64_t kMostSegment = std::uint64_t{64} << 20U;
constexpr std::uint64_t kSegmentsInLimit = 8;
constexpr std::uint64_t kLeastSegment = std::uint64_t{1} << 20U;  // where the disk has room for no larger one
// What a segment costs besides its events: headers, footer, the zeros before its first commit, before its footer and
// before a commit that is on its way, its settled file's first step.
constexpr std::uint64_t kSegmentOverhead = next_block(kFirstCommit) + 2 * kBlock + kFooterSize + kSettledStep;

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
                        : 0),
      most_segments_(most_segments(config_.limit_bytes) + config_.most_left) {
  if (usable_bytes_ < 2 * segment_bytes_ || segment_bytes_ < 16 * kBlock) {
    throw StartError(StartError::Kind::unusable,
                     fmt::format("journal: {} bytes are too few; with this queue at least {} are needed",
                                 config_.limit_bytes, (config_.spill_bytes + (std::uint64_t{1} << 20U)) * 8 / 5));
  }
  std::error_code error;
  try {
    error = take_over();
  } catch (const StartError& refused) {
    if (refused.kind() != StartError::Kind::io) throw;
    fail_because(refused.what());
    return;
  }
  if (!error) error = begin_segment(0, next_sequence_, last_of_earlier_runs().get());
  if (error && !failed()) fail("begin " + segment_name(next_number_ - 1), error);
  maintain();
  if (count_.load() >= most_segments_) {  // or who looks at its bytes would not know why nothing is taken
    log(LogLevel::warn, fmt::format("the journal has as many segments as it may have, nothing is taken until some are "
                                    "delivered segments={}",
                                    count_.load()));
  }
}

Journal::~Journal() = default;

std::size_t Journal::most_segments(std::uint64_t limit_bytes) noexcept {
  const std::uint64_t full = limit_bytes / std::max(kBlock, segment_bytes_for(limit_bytes));
  return static_cast<std::size_t>(full + full / 4 + kSegmentsInLimit);
}

// ---- room

bool Journal::has_room_for(std::uint64_t taken, std::uint64_t bytes) const noexcept {
  return taken + others_.load() + bytes + kSegmentOverhead <= usable_bytes_ && count_.load() < most_segments_;
}

Journal::Room Journal::try_reserve(std::uint64_t bytes) noexcept {
  if (bytes + kSegmentOverhead > usable_bytes_) return Room::never;
  std::uint64_t now = taken_.load();
  do {
    if (!has_room_for(now, bytes)) {
      pressed_.store(true);
      return Room::full;
    }
  } while (!taken_.compare_exchange_weak(now, now + bytes));
  return Room::reserved;
}

bool Journal::has_room(std::uint64_t bytes) const noexcept { return has_room_for(taken_.load(), bytes); }

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

void Journal::charge(Segment& segment, std::uint64_t bytes) noexcept {
  taken_.fetch_add(bytes - segment.charged);  // wraps where it becomes less
  segment.charged = bytes;
}

// What stands on the disk takes its room, also where less of it was used than was made.
void Journal::charge_physical(Segment& segment) noexcept {
  charge(segment, std::max(segment.charged, segment.size + segment.settled_size));
}

// Under mutex_.
void Journal::enter(const SegmentPtr& segment) {
  segments_[segment->number] = segment;
  count_.store(segments_.size());
}

// ---- segments

std::error_code Journal::fail(const std::string& what, std::error_code error) {
  fail_because(fmt::format("{}: {}", what, error.message()));
  return error;
}

void Journal::fail_because(std::string cause) {
  {
    const std::lock_guard lock(mutex_);
    cause_ = std::move(cause);
    // What nobody can vouch for is not fed from here; recover() moves it.
    if (active_ && active_->end > active_->synced) active_->end = active_->synced;
  }
  if (active_ && !active_->tail.empty()) {
    // Its block may be destroyed by now, and be read again. The copy on the disk is for the next start.
    active_->tail_needed = true;
    const std::uint64_t begin = active_->synced - active_->tail.size();
    static_cast<TailedFile&>(*active_->file).set({begin, std::exchange(active_->tail, {})});
  }
  if (!failed_.exchange(true)) log(LogLevel::error, fmt::format("the journal has failed, {}", this->cause()));
}

std::string Journal::cause() const {
  const std::lock_guard lock(mutex_);
  return cause_;
}

// As much of `size` as the disk has room for: halved until it fits, but never less than `least`.
std::error_code Journal::preallocate(DiskFile& file, std::uint64_t& size, std::uint64_t least) {
  for (;;) {
    const std::error_code error = file.preallocate(size);
    if (!is_full(error) || size <= least) return error;
    // The attempt may hold all the room that there is.
    if (const auto uncut = file.truncate(0)) return uncut;
    size = std::max(least, size / 2 / kBlock * kBlock);
  }
}

// `least`: so much of `size` will do, where the disk has no room for all of it.
std::error_code Journal::create(SegmentKind kind, const RunId& run, std::uint64_t ordinal, std::uint64_t first_sequence,
                                std::uint64_t size, std::uint64_t least, std::uint64_t events,
                                const Segment* predecessor, SegmentPtr& made) {
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
  segment->settled_size = up_to(kHeaderCopySize + events * kSettleBytes, kSettledStep);

  const HeaderBytes bytes = encode(header);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  const std::string name = kind == SegmentKind::copies ? draft_name(segment_name(number)) : segment_name(number);
  std::error_code error = disk_.open(name, Disk::Open::create, segment->file);
  // The settled file first: a segment that takes what room there is must leave it its own.
  std::unique_ptr<DiskFile> settled;
  if (!error) error = disk_.open(settled_name(number), Disk::Open::create, settled);
  segment->settled = std::move(settled);
  if (!error) error = segment->settled->preallocate(segment->settled_size);
  if (!error) error = preallocate(*segment->file, size, least);
  segment->size = segment->made_size = size;
  if (!error) error = segment->file->write(0, piece);
  if (!error) error = segment->file->write(kSecondHeader, piece);
  if (!error) error = segment->file->sync();
  // Only now: where it stands and the others do not, no power cut has taken them. Copies have a part of theirs to come.
  if (!error && kind == SegmentKind::taken) error = write_header_copy(*segment->settled, *segment);
  segment->settled_end = kHeaderCopySize;
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
  segment->file = std::make_unique<TailedFile>(std::move(segment->file));
  disk_.pass(Instant::after_create);
  segment->charged = kSegmentOverhead;
  taken_.fetch_add(kSegmentOverhead);
  made = std::move(segment);
  return {};
}

// With room for a commit of `need` bytes.
std::uint64_t Journal::least_segment(std::uint64_t need) noexcept {
  return next_block(next_block(next_block(kFirstCommit) + need) + kFooterSize) + kTailRoom;
}

// A new segment for what is taken from now on, with room for a commit of `need` bytes; a small one where the disk has
// room for no other, so that a disk is full only when it is.
std::error_code Journal::begin_segment(std::uint64_t need, std::uint64_t first_sequence, const Segment* predecessor) {
  std::uint64_t room = segment_bytes_;
  bool may_be_small = false;
  {
    const std::lock_guard lock(mutex_);
    may_be_small = segments_.size() < most_segments(config_.limit_bytes);  // each has descriptors of its own
    const std::uint64_t used = physical_bytes() + kSettledStep;
    const std::uint64_t most = config_.limit_bytes - segment_bytes_ - config_.spill_bytes;
    room = std::min(room, most > used ? (most - used) / kBlock * kBlock : 0);
  }
  const std::uint64_t needed = least_segment(need);
  const std::uint64_t size = std::max(room, needed);
  const std::uint64_t least = may_be_small ? std::max(needed, std::min(kLeastSegment, segment_bytes_ / 4)) : size;
  SegmentPtr made;
  if (const auto error = create(SegmentKind::taken, config_.run, ordinal_, first_sequence, size, std::min(least, size),
                                0, predecessor, made)) {
    return error;
  }
  const std::lock_guard lock(mutex_);
  active_ = made;
  enter(made);
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
                      .offset = next_place(segment)};
  const FooterBytes bytes = encode(footer, segment.header.seed);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  const std::uint64_t size = footer.offset + kFooterSize;
  std::error_code error = segment.file->write(footer.offset, piece);
  if (!error) error = segment.file->truncate(size);
  if (error) return fail("seal " + segment_name(segment.number), error);
  error = sync_file(segment);
  if (error) return error;
  segment.size = size;
  segment.sealed = true;
  charge_physical(segment);
  return {};
}

// One that failed unsealed is never written again: it is cut behind what it holds, in whole blocks, so that none is
// touched that it needs. Only once its successor's header says where it ends: until then a file that is shorter than it
// was made is a damaged one. Nor is the copy of a tail cut off while the failure may have destroyed that.
void Journal::cut_failed(Segment& segment) {
  const std::uint64_t size = up_to(segment.acknowledged_end, kBlock);
  const bool may_be_cut = !segment.sealed && !segment.tail_needed && size < segment.size;
  if (may_be_cut && !segment.file->truncate(size)) segment.size = size;
  charge_physical(segment);
}

std::error_code Journal::room_for_settles(Segment& segment, std::uint64_t events) {
  const std::uint64_t need = kHeaderCopySize + events * kSettleBytes;
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

// So small a commit shares its last block with the next one, and pays with a copy of it. For a larger one zeros up to
// the next block cost little.
constexpr std::uint64_t kSharesBlock = kSmallCommit;

// What the last block holds once these pieces stand in it, from `begin` to `end`. Empty: nothing that is worth a copy,
// or more than one has room for, or something of which there is none.
std::vector<std::byte> tail_of(const Segment& segment, std::uint64_t begin, std::uint64_t end,
                               std::span<const std::span<const std::byte>> pieces) {
  std::vector<std::byte> tail;
  if (begin % kBlock != 0) tail = segment.tail;
  if (begin % kBlock != tail.size()) return {};
  for (const auto& piece : pieces) tail.insert(tail.end(), piece.begin(), piece.end());
  tail.erase(tail.begin(),
             tail.end() - static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(end % kBlock, tail.size())));
  if (tail.size() > kBlock - kTailFrame) tail.clear();
  return tail;
}

// Behind a commit that ends here: zeros, where there are zeros already. Room that is only preallocated is entered in
// the file system's books by the first sync of it, which takes as long again as the data do; so that is done for many
// small commits in one go. For a large one as much would be written again as is saved.
void add_zeros(Segment& segment, std::uint64_t end, std::vector<std::span<const std::byte>>& pieces) {
  if (end <= segment.fresh) return;
  segment.fresh = std::min((end + kAhead) / kBlock * kBlock, segment.size - kTailRoom);
  for (std::uint64_t at = end; at < segment.fresh; at += pieces.back().size()) {
    pieces.push_back(std::span(kZeros).first(std::min(segment.fresh - at, kBlock - at % kBlock)));
  }
}

}  // namespace

// Behind what was synced only a small commit, synced by itself, may share its block, if that has a copy: see format.h.
std::uint64_t Journal::next_place(const Segment& segment, std::uint64_t length) noexcept {
  const std::uint64_t end = segment.acknowledged_end;
  if (segment.synced != end) return end;
  return length <= kSharesBlock && !segment.tail.empty() ? end : next_block(end);
}

// To the place where the last but one stands; the last one is all that is sure of the block by now.
std::error_code Journal::write_tail(Segment& segment, std::uint64_t end, std::span<const std::byte> tail) {
  if (tail.empty()) return {};
  const std::uint64_t at = segment.size - kTailRoom + segment.tails++ % 2 * kBlock;
  const std::vector<std::byte> record = encode(TailView{end - tail.size(), tail}, segment.header.seed, at);
  const std::array<std::span<const std::byte>, 1> piece{std::span(record)};
  return segment.file->write(at, piece);
}

std::error_code Journal::commit(std::span<const CommitRequest> requests, const Framer& frame_request,
                                std::uint64_t reserved, bool sync_it, Place& place) {
  assert(!requests.empty());
  assert(!failed() && "a journal that has failed was written to");
  std::uint64_t length = 2 * kCommitFrame;
  std::uint64_t events = 0;
  for (const CommitRequest& request : requests) {
    length += request.body.size();
    events += request.events;
  }
  const std::uint64_t first = requests.front().first_sequence;
  next_sequence_ = std::max(next_sequence_, requests.back().first_sequence + requests.back().events);
  const std::uint64_t alone = sync_it ? length : UINT64_MAX;  // what may share a block
  const auto fits = [&] {
    const std::uint64_t end = next_place(*active_, alone) + length;
    return next_block(end) + kFooterSize + kTailRoom <= active_->size;
  };
  if (!fits() && active_->events > 0) {
    if (const auto error = seal(*active_)) return error;
    disk_.pass(Instant::at_rotation);
  }
  if (!fits()) {
    const SegmentPtr old = active_;
    if (const auto error = begin_segment(length, first, old.get())) {
      return fail("begin " + segment_name(next_number_ - 1), error);
    }
  }

  Segment& segment = *active_;
  if (const auto error = room_for_settles(segment, segment.events + events)) {
    // Nothing of this commit was written, so what stands there is made sure of: it is delivered while the disk is full.
    if (const auto unsynced = sync()) return unsynced;
    return fail("preallocate " + settled_name(segment.number), error);
  }
  const std::uint64_t begin = next_place(segment, alone);
  const std::uint64_t padding = begin - segment.acknowledged_end;
  const std::uint64_t seed = segment.header.seed;
  const CommitFrame frame{.first_sequence = first,
                          .events = static_cast<std::uint32_t>(events),
                          .requests = static_cast<std::uint32_t>(requests.size()),
                          .length = length,
                          .synced = segment.synced};
  const CommitFrameBytes begin_bytes = encode(RecordKind::begin, frame, seed, begin);
  const CommitFrameBytes end_bytes = encode(RecordKind::end, frame, seed, begin + length - kCommitFrame);
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(requests.size() + 2);
  pieces.emplace_back(begin_bytes);
  place = {segment.number, begin, begin + length, {}};
  place.ends.reserve(requests.size());
  std::uint64_t at = begin + kCommitFrame;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    frame_request(i, seed, at);
    pieces.emplace_back(requests[i].body);
    at += requests[i].body.size();
    place.ends.push_back(at);
  }
  pieces.emplace_back(end_bytes);
  std::vector<std::byte> tail;
  if (alone <= kSharesBlock) tail = tail_of(segment, begin, begin + length, pieces);
  if (sync_it && length <= kSmallCommit) add_zeros(segment, begin + length, pieces);

  if (const auto error = segment.file->write(begin, pieces))
    return fail("append " + segment_name(segment.number), error);
  if (const auto error = write_tail(segment, begin + length, tail))
    return fail("append " + segment_name(segment.number), error);
  disk_.pass(Instant::after_append);
  if (sync_it) {
    if (const auto error = sync_file(segment)) return error;
    segment.synced = begin + length;
    segment.synced_events = segment.recorded + events;
    segment.synced_last = next_sequence_ - 1;
  }
  segment.tail = std::move(tail);
  segment.acknowledged_end = begin + length;
  segment.recorded += events;
  segment.commits += 1;
  if (segment.events == 0) segment.first_sequence = first;
  segment.last_sequence = next_sequence_ - 1;
  segment.charged += reserved + padding;
  taken_.fetch_add(padding);
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
  if (const auto error = look_for_names(); error && !first) first = error;
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
