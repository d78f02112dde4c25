// See the header.
#include "journal/rewriter.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <span>
#include <utility>

#include "journal/event_reader.h"

namespace sluice::journal {

namespace {

// The size of a segment of its own for them.
std::uint64_t segment_bytes_of(const Extent& most) {
  return kFirstCommit + most.bytes + (most.bytes / Rewriter::kPieceBytes + 2) * 2 * kCommitFrame + kFooterSize;
}

// Adds the record of an event whose commit begins at `begin`.
void add_record(std::vector<std::byte>& piece, const Record& event, std::uint64_t seed, std::uint64_t begin) {
  const std::size_t at = piece.size();
  piece.resize(at + record_bytes(event), std::byte{0});
  std::byte* const record = piece.data() + at;
  std::copy_n(reinterpret_cast<const std::byte*>(event.content_type.data()), event.content_type.size(),
              record + kEventFrame);
  std::copy_n(event.payload.data(), event.payload.size(), record + kEventFrame + event.content_type.size());
  frame_event(record, event.content_type.size(), event.payload.size(),
              {.sequence = event.sequence, .received = event.received}, seed, begin + at);
}

}  // namespace

bool Rewriter::has_room(const Extent& copies) const {
  const std::lock_guard lock(table_.mutex());
  const std::uint64_t used = table_.physical_bytes() + context_.config.spill_bytes + segment_bytes_of(copies) +
                             kHeaderCopySize + copies.events * kSettleBytes + kSettledStep;
  // A new segment has to begin beside them.
  return used + SegmentMaker::least_segment(0) + kSettledStep <= context_.config.limit_bytes;
}

std::error_code Rewriter::write(SegmentKind kind, const RunId& run, std::uint64_t ordinal, const Extent& most,
                                const Source& source, SegmentPtr& made) {
  std::error_code error;
  std::optional<Record> event = source(error);
  if (error || !event) return error;
  // One unmade segment at a time, or a disk that stays bad would collect more and more of them.
  if (kind == SegmentKind::copies) error = remove_unmade();
  if (error) return error;
  const std::uint64_t room = segment_bytes_of(most);
  SegmentPtr segment;
  error = maker_.make({.kind = kind,
                       .run = run,
                       .ordinal = ordinal,
                       .first_sequence = event->sequence,
                       .size = room,
                       .least = room,
                       .events = most.events},
                      segment);
  if (error) return error;

  std::uint64_t bytes = 0;
  error = write_commits(*segment, event, source, bytes);
  if (!error) error = complete(*segment);
  if (error) {
    const std::string name = segment_name(segment->number);
    budget_.charge(*segment, 0);
    static_cast<void>(context_.disk.unlink(draft_name(name)));
    static_cast<void>(context_.disk.unlink(settled_name(segment->number)));
    unmade_.push_back(name);
    static_cast<void>(remove_unmade());
    return error;
  }
  budget_.charge(*segment, segment->charged + bytes + segment->feed.events * kSettleBytes);
  budget_.charge_physical(*segment);
  Written& written = segment->written;
  written.sealed = true;
  written.synced = segment->feed.end = written.acknowledged_end;
  written.recorded = written.synced_events = segment->feed.events;
  written.synced_last = written.last_sequence;
  made = std::move(segment);
  return {};
}

std::error_code Rewriter::write_commits(Segment& segment, std::optional<Record> event, const Source& source,
                                        std::uint64_t& bytes) {
  Written& written = segment.written;
  const std::uint64_t seed = segment.header.seed;
  written.last_sequence = event->sequence;
  std::vector<std::byte> piece;
  std::error_code error;
  while (event) {
    const std::uint64_t begin = written.acknowledged_end;
    CommitFrame frame{.first_sequence = event->sequence, .synced = written.synced};
    piece.assign(kCommitFrame, std::byte{0});
    while (event && (frame.events == 0 || piece.size() + record_bytes(*event) <= kPieceBytes)) {
      add_record(piece, *event, seed, begin);
      written.first_sequence = std::min(written.first_sequence, event->sequence);
      written.last_sequence = std::max(written.last_sequence, event->sequence);
      frame.events += 1;
      event = source(error);
      if (error) return error;
    }
    frame.requests = frame.events;
    frame.length = piece.size() + kCommitFrame;
    bytes += frame.length;
    segment.feed.events += frame.events;
    const auto begin_bytes = encode(RecordKind::begin, frame, seed, begin);
    std::ranges::copy(begin_bytes, piece.begin());
    const auto end_bytes = encode(RecordKind::end, frame, seed, begin + piece.size());
    const std::array<std::span<const std::byte>, 2> pieces{std::span<const std::byte>(piece),
                                                           std::span<const std::byte>(end_bytes)};
    if (const auto failed = segment.file->write(begin, pieces)) return failed;
    written.acknowledged_end = begin + frame.length;
    written.commits += 1;
  }
  return {};
}

// The header of copies says of their own segment what a successor's would say: all was synced before it has a name.
std::error_code Rewriter::write_own_extent(Segment& segment) {
  Header& header = segment.header;
  header.predecessor_end = header.predecessor_synced = segment.written.acknowledged_end + kFooterSize;
  header.predecessor_events = segment.feed.events;
  header.predecessor_last = segment.written.last_sequence;
  const HeaderBytes bytes = encode(header);
  const std::array<std::span<const std::byte>, 1> piece{std::span<const std::byte>(bytes)};
  if (const auto error = segment.file->write(0, piece)) return error;
  return segment.file->write(kSecondHeader, piece);
}

// Header, footer, syncs, and for copies the name.
std::error_code Rewriter::complete(Segment& segment) {
  Written& written = segment.written;
  const bool copies = segment.header.kind == SegmentKind::copies;
  const Footer footer{.first_sequence = written.first_sequence,
                      .last_sequence = written.last_sequence,
                      .events = segment.feed.events,
                      .commits = written.commits,
                      .offset = written.acknowledged_end};
  const FooterBytes footer_bytes = encode(footer, segment.header.seed);
  const std::array<std::span<const std::byte>, 1> pieces{std::span<const std::byte>(footer_bytes)};
  std::error_code error;
  if (copies) error = write_own_extent(segment);
  if (!error) error = segment.file->sync();  // before the footer says that it was
  if (!error && copies) {
    error = segment.settles.write_header(segment);
    if (!error) error = segment.settles.sync();
  }
  if (!error) error = segment.file->write(written.acknowledged_end, pieces);
  written.size = written.acknowledged_end + kFooterSize;
  if (!error) error = segment.file->truncate(written.size);
  if (!error) error = segment.file->sync();
  if (!error && copies) {
    const std::string name = segment_name(segment.number);
    error = context_.disk.rename(draft_name(name), name);
    if (!error) error = context_.disk.sync_directory();
  }
  return error;
}

std::error_code Rewriter::remove_unmade() {
  if (unmade_.empty()) return {};
  for (const std::string& name : unmade_) {
    const auto error = context_.disk.unlink(name);
    if (error && error != std::errc::no_such_file_or_directory) return error;
  }
  if (const auto error = context_.disk.sync_directory()) return error;
  unmade_.clear();
  return {};
}

}  // namespace sluice::journal
