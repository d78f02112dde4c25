// See the header. Each Instant that is passed is a point at which a test cuts the power.
#include "journal/segment_writer.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <mutex>
#include <utility>

#include "journal/named_file.h"

namespace sluice::journal {

namespace {

constexpr std::uint64_t kLeastSegment = std::uint64_t{1} << 20U;  // where the disk has room for no larger one
constexpr std::uint64_t kAhead = std::uint64_t{128} << 10U;
constexpr std::uint64_t kSmallCommit = kAhead / 4;
constexpr std::array<std::byte, kBlock> kZeros{};

// So small a commit shares its last block with the next one, and pays with a copy of it. For a larger one zeros up to
// the next block cost little.
constexpr std::uint64_t kSharesBlock = kSmallCommit;

std::uint64_t up_to(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

// Where the next commit, or the footer, begins. Behind synced bytes only a small commit that is synced by itself may
// share their block, if that block has a copy: see format.h.
std::uint64_t next_place(const Segment& segment, std::uint64_t length = UINT64_MAX) noexcept {
  const std::uint64_t end = segment.written.acknowledged_end;
  if (segment.written.synced != end) return end;
  return length <= kSharesBlock && !segment.written.tail.empty() ? end : next_block(end);
}

// The contents of the last block once these pieces are in it, from `begin` to `end`. Empty: nothing worth a copy, more
// than a copy holds, or a beginning of which there is no copy.
std::vector<std::byte> tail_of(const Segment& segment, std::uint64_t begin, std::uint64_t end,
                               std::span<const std::span<const std::byte>> pieces) {
  std::vector<std::byte> tail;
  if (begin % kBlock != 0) tail = segment.written.tail;
  if (begin % kBlock != tail.size()) return {};
  for (const auto& piece : pieces) tail.insert(tail.end(), piece.begin(), piece.end());
  tail.erase(tail.begin(),
             tail.end() - static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(end % kBlock, tail.size())));
  if (tail.size() > kBlock - kTailFrame) tail.clear();
  return tail;
}

// Writes zeros ahead of a commit that ends here, over the preallocated zeros. The first sync of preallocated room
// enters it in the file system's books, which takes as long again as the data; so it is done for many small commits at
// once. For a large commit that would write as much as it saves.
void add_zeros(Segment& segment, std::uint64_t end, std::vector<std::span<const std::byte>>& pieces) {
  Written& written = segment.written;
  if (end <= written.fresh) return;
  written.fresh = std::min((end + kAhead) / kBlock * kBlock, written.size - kTailRoom);
  for (std::uint64_t at = end; at < written.fresh; at += pieces.back().size()) {
    pieces.push_back(std::span(kZeros).first(std::min(written.fresh - at, kBlock - at % kBlock)));
  }
}

}  // namespace

// ---- commits

std::error_code SegmentWriter::commit(std::span<const CommitRequest> requests, const Framer& frame_request,
                                      std::uint64_t reserved, bool sync_it, Place& place) {
  assert(!requests.empty());
  assert(!health_.failed() && "a journal that has failed was written to");
  std::uint64_t length = 2 * kCommitFrame;
  std::uint64_t events = 0;
  for (const CommitRequest& request : requests) {
    length += request.body.size();
    events += request.events;
  }
  const std::uint64_t first = requests.front().first_sequence;
  next_sequence_ = std::max(next_sequence_, requests.back().first_sequence + requests.back().events);
  const std::uint64_t alone = sync_it ? length : UINT64_MAX;  // what may share a block
  if (const auto error = make_room(length, alone, first)) return error;

  Segment& segment = *table_.active();
  if (const auto error = segment.settles.reserve(segment.feed.events + events)) {
    // Nothing of this commit was written; what was written before is synced, so that it is delivered while the disk is
    // full.
    if (const auto unsynced = sync()) return unsynced;
    return health_.fail("preallocate " + settled_name(segment.number), error);
  }
  Written& written = segment.written;
  const std::uint64_t begin = next_place(segment, alone);
  const std::uint64_t end = begin + length;
  const std::uint64_t padding = begin - written.acknowledged_end;
  const std::uint64_t seed = segment.header.seed;
  const CommitFrame frame{.first_sequence = first,
                          .events = static_cast<std::uint32_t>(events),
                          .requests = static_cast<std::uint32_t>(requests.size()),
                          .length = length,
                          .synced = written.synced};
  const CommitFrameBytes begin_bytes = encode(RecordKind::begin, frame, seed, begin);
  const CommitFrameBytes end_bytes = encode(RecordKind::end, frame, seed, end - kCommitFrame);
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(requests.size() + 2);
  pieces.emplace_back(begin_bytes);
  place = {segment.number, begin, end, {}};
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
  if (alone <= kSharesBlock) tail = tail_of(segment, begin, end, pieces);
  if (sync_it && length <= kSmallCommit) add_zeros(segment, end, pieces);

  if (const auto error = write(segment, begin, end, pieces, tail)) return error;
  if (sync_it) {
    if (const auto error = sync_file(segment)) return error;
    written.synced = end;
    written.synced_events = written.recorded + events;
    written.synced_last = next_sequence_ - 1;
  }
  written.tail = std::move(tail);
  written.acknowledged_end = end;
  written.recorded += events;
  written.commits += 1;
  if (segment.feed.events == 0) written.first_sequence = first;
  written.last_sequence = next_sequence_ - 1;
  budget_.charge_commit(segment, reserved, padding);
  const std::lock_guard lock(table_.mutex());
  segment.feed.events += events;
  segment.feed.unfed += events;
  return {};
}

// The active segment has room for a commit of this length: it, or the next one.
std::error_code SegmentWriter::make_room(std::uint64_t length, std::uint64_t alone, std::uint64_t first) {
  const auto fits = [&] {
    const std::uint64_t end = next_place(*table_.active(), alone) + length;
    return next_block(end) + kFooterSize + kTailRoom <= table_.active()->written.size;
  };
  if (!fits() && table_.active()->feed.events > 0) {
    if (const auto error = seal(*table_.active())) return error;
    context_.disk.pass(Instant::at_rotation);
  }
  if (fits()) return {};
  const SegmentPtr old = table_.active();
  if (const auto error = begin(length, first, old.get())) {
    return health_.fail("begin " + segment_name(maker_.last_number()), error);
  }
  return {};
}

std::error_code SegmentWriter::write(Segment& segment, std::uint64_t begin, std::uint64_t end,
                                     std::span<const std::span<const std::byte>> pieces,
                                     std::span<const std::byte> tail) {
  std::error_code error = segment.file->write(begin, pieces);
  if (!error) error = write_tail(segment, end, tail);
  if (error) return health_.fail("append " + segment_name(segment.number), error);
  context_.disk.pass(Instant::after_append);
  return {};
}

// To the place of the last but one copy: the last one is the only sure copy of the block while the block is written.
std::error_code SegmentWriter::write_tail(Segment& segment, std::uint64_t end, std::span<const std::byte> tail) {
  if (tail.empty()) return {};
  const std::uint64_t at = segment.written.size - kTailRoom + segment.written.tails++ % 2 * kBlock;
  const std::vector<std::byte> record = encode(TailView{end - tail.size(), tail}, segment.header.seed, at);
  const std::array<std::span<const std::byte>, 1> piece{std::span(record)};
  return segment.file->write(at, piece);
}

std::error_code SegmentWriter::sync() {
  Segment& segment = *table_.active();
  Written& written = segment.written;
  if (written.synced == written.acknowledged_end) return {};
  if (const auto error = sync_file(segment)) return error;
  written.synced = written.acknowledged_end;
  written.synced_events = written.recorded;
  written.synced_last = written.last_sequence;
  return {};
}

std::error_code SegmentWriter::sync_file(Segment& segment) {
  context_.disk.pass(Instant::before_sync);
  if (const auto error = sync_named(*segment.file)) {
    return health_.fail("sync " + segment_name(segment.number), error);
  }
  context_.disk.pass(Instant::after_sync);
  return {};
}

// ---- segments

std::error_code SegmentWriter::begin(const Segment* predecessor) { return begin(0, next_sequence_, predecessor); }

// With room for a commit of `need` bytes; a small segment if the disk has room for no other, so that a disk counts as
// full only when it is.
std::error_code SegmentWriter::begin(std::uint64_t need, std::uint64_t first_sequence, const Segment* predecessor) {
  std::uint64_t room = budget_.segment_bytes();
  bool may_be_small = false;
  {
    const std::lock_guard lock(table_.mutex());
    may_be_small = table_.all().size() < Budget::most_segments(context_.config.limit_bytes);  // each has descriptors
    const std::uint64_t used = table_.physical_bytes() + kSettledStep;
    const std::uint64_t most = budget_.usable_bytes();
    room = std::min(room, most > used ? (most - used) / kBlock * kBlock : 0);
  }
  const std::uint64_t needed = SegmentMaker::least_segment(need);
  const std::uint64_t size = std::max(room, needed);
  const std::uint64_t least =
      may_be_small ? std::max(needed, std::min(kLeastSegment, budget_.segment_bytes() / 4)) : size;
  SegmentPtr made;
  const auto error = maker_.make({.kind = SegmentKind::taken,
                                  .run = context_.config.run,
                                  .ordinal = table_.ordinal(),
                                  .first_sequence = first_sequence,
                                  .size = size,
                                  .least = std::min(least, size),
                                  .predecessor = predecessor},
                                 made);
  if (error) return error;
  const std::lock_guard lock(table_.mutex());
  table_.activate(made);
  cursor_.append(made);
  return {};
}

// The segment is complete: synced, with a footer, and no longer than it has to be.
std::error_code SegmentWriter::seal(Segment& segment) {
  Written& written = segment.written;
  if (written.synced < written.acknowledged_end) {
    if (const auto error = sync()) return error;
  }
  const Footer footer{.first_sequence = written.first_sequence,
                      .last_sequence = written.last_sequence,
                      .events = written.recorded,
                      .commits = written.commits,
                      .offset = next_place(segment)};
  const FooterBytes bytes = encode(footer, segment.header.seed);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  const std::uint64_t size = footer.offset + kFooterSize;
  std::error_code error = segment.file->write(footer.offset, piece);
  if (!error) error = segment.file->truncate(size);
  if (error) return health_.fail("seal " + segment_name(segment.number), error);
  if (const auto unsynced = sync_file(segment)) return unsynced;
  written.size = size;
  written.sealed = true;
  budget_.charge_physical(segment);
  return {};
}

// In whole blocks, so that no block is touched that it needs. Until its successor's header says where it ends, a file
// that is shorter than it was made is a damaged one. Nor are the copies of its last block cut off while the failure may
// have destroyed that block.
void SegmentWriter::cut_failed(Segment& segment) {
  const std::uint64_t size = up_to(segment.written.acknowledged_end, kBlock);
  const bool may_be_cut = !segment.written.sealed && !segment.written.tail_needed && size < segment.written.size;
  if (may_be_cut && !segment.file->truncate(size)) segment.written.size = size;
  budget_.charge_physical(segment);
}

std::error_code SegmentWriter::seal_active(bool& finished) {
  Segment& last = *table_.active();
  {
    const std::lock_guard lock(table_.mutex());
    cursor_.normalize();
    finished = last.feed.unfed == 0 && last.feed.is_finished();
  }
  if (!finished) return seal(last);
  // A finished segment is deleted, neither sealed nor synced, so check here that nobody has unlinked it, and with it
  // the directory.
  if (const auto error = check_named(*last.file)) return health_.fail("close " + segment_name(last.number), error);
  return {};
}

void SegmentWriter::leave_active(bool finished) {
  const std::lock_guard lock(table_.mutex());
  if (finished) cursor_.remove(table_.active());
  table_.deactivate();
}

}  // namespace sluice::journal
