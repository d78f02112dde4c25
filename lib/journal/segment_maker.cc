// See the header.
#include "journal/segment_maker.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "journal/tail_copy.h"

namespace sluice::journal {

namespace {

Header header_of(const SegmentMaker::Plan& plan) {
  Header header{.kind = plan.kind, .run = plan.run, .ordinal = plan.ordinal, .first_sequence = plan.first_sequence};
  const RunId random = RunId::draw();
  for (const std::uint8_t byte : random.bytes) header.seed = header.seed * 0x100000001B3U + byte;
  if (const Segment* const predecessor = plan.predecessor) {
    header.predecessor = predecessor->number;
    header.predecessor_seed = predecessor->header.seed;
    header.predecessor_end = predecessor->written.acknowledged_end;
    header.predecessor_synced = predecessor->written.synced;
    header.predecessor_events = predecessor->written.synced_events;
    header.predecessor_last = predecessor->written.synced_last;
  }
  return header;
}

}  // namespace

std::uint64_t SegmentMaker::least_segment(std::uint64_t need) noexcept {
  return next_block(next_block(next_block(kFirstCommit) + need) + kFooterSize) + kTailRoom;
}

void SegmentMaker::come_after(std::uint64_t number) noexcept { next_number_ = std::max(next_number_, number + 1); }

// As much of `size` as the disk has room for: halved until it fits, but never less than `least`.
std::error_code SegmentMaker::preallocate(DiskFile& file, std::uint64_t& size, std::uint64_t least) {
  for (;;) {
    const std::error_code error = file.preallocate(size);
    if (!is_full(error) || size <= least) return error;
    // The attempt may hold all the room that there is.
    if (const auto uncut = file.truncate(0)) return uncut;
    size = std::max(least, size / 2 / kBlock * kBlock);
  }
}

std::error_code SegmentMaker::make(const Plan& plan, SegmentPtr& made) {
  const std::uint64_t number = next_number_++;
  auto segment = std::make_shared<Segment>(number, header_of(plan));
  segment->written.first_sequence = plan.first_sequence;
  const std::string name = plan.kind == SegmentKind::copies ? draft_name(segment_name(number)) : segment_name(number);
  if (const auto error = make_files(plan, *segment, name)) {
    // Nothing in it was ever acknowledged; the rest is empty.
    segment.reset();
    static_cast<void>(context_.disk.unlink(name));
    static_cast<void>(context_.disk.unlink(settled_name(number)));
    return error;
  }
  segment->file = std::make_unique<TailedFile>(std::move(segment->file));
  context_.disk.pass(Instant::after_create);
  budget_.charge_new(*segment);
  made = std::move(segment);
  return {};
}

std::error_code SegmentMaker::make_files(const Plan& plan, Segment& segment, const std::string& name) {
  const HeaderBytes bytes = encode(segment.header);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  std::uint64_t size = plan.size;
  std::error_code error = context_.disk.open(name, Disk::Open::create, segment.file);
  // The settle file first: a segment that takes all the room there is must leave it its own.
  if (!error) error = segment.settles.create(context_.disk, segment.number, plan.events);
  if (!error) error = preallocate(*segment.file, size, plan.least);
  segment.written.size = segment.written.made_size = size;
  if (!error) error = segment.file->write(0, piece);
  if (!error) error = segment.file->write(kSecondHeader, piece);
  if (!error) error = segment.file->sync();
  // Not before that sync: where this copy is and the others are not, no power cut has taken them. Rewriter changes the
  // headers of copies once more, and then writes this one.
  if (!error && plan.kind == SegmentKind::taken) error = segment.settles.write_header(segment);
  if (!error) error = segment.settles.sync();
  if (!error) error = context_.disk.sync_directory();
  return error;
}

}  // namespace sluice::journal
