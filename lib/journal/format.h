// The format of the journal on disk, version 2: this page is the format, and the code below it is this page again.
// Version 1 (Sluice 0.1) is read as well: it has no `tail`, and nothing in it begins in a block of its own. Values
// only: any thread. It refuses what does not fit its checksum.
//
// STATE/journal/ holds pairs of files, NNNNNN counting up from 000001:
//   segment-NNNNNN          events, in commits; never changed but at its end
//   segment-NNNNNN.settled  which of them are finished
//   segment-NNNNNN.damaged  a segment that had broken events, set aside after its intact ones were finished; it is not
//                           read any more, and may be examined and removed
// Numbers are little endian, offsets count from the begin of the file.
//
// segment  = header ... header ... commit* [footer] zeros*         headers at 0 and 4096, the first commit at 8192
// commit   = begin event+ end                                      one write; a request never spans two
// settled  = [header copy] settles*                                from offset 0, zeros behind
//
// A disk writes a block of 4096 bytes whole, and a failed write or sync may destroy the block's earlier contents. So
// while a block is rewritten, its synced bytes have a second copy. After a sync, the next commit or the footer begins
// at the next multiple of 4096, with zeros between: these are no damage before a commit whose `begin` says that it was
// synced up to where they begin, nor before a footer. But small commits that are synced one by one may follow each
// other in one block: then the file ends in two blocks that take turns, each with a record `tail`, a copy of that block
// up to the end of a commit. One of them is written with each commit, the other is left alone. If the segment differs
// from a copy, the copy is right. Sealing cuts them off. Assumed of the disk: a sync that succeeds has stored the data;
// a failure destroys only blocks that were being written; and, if a start finds no room for a copy of the bytes behind
// the last known sync (the disk is full, or the limit is reached and nothing else is left to deliver), these can be
// rewritten in place.
//
// header (112 bytes, written twice)            of the segment before this one:
//    0  8  "SLUICEJ\n"                         56  8  its number; 0: there is none
//    8  4  version, 2                          64  8  its seed, by which it is known
//   12  4  kind: 0 as taken, 1 copies          72  8  offset where what it has acknowledged ends: behind it is what was
//   16  8  seed, random                               answered "unknown", and does not count
//   24 16  run                                 80  8  offset before which everything was synced
//   40  8  ordinal: runs that wrote here       88  8  how many events stand before there
//          count up, older ones first          96  8  sequence of the last of them
//   48  8  sequence of the first event,       104  8  XXH3-64 of bytes 0..103
//          or of what comes next
// Three things are the same in every version, so that each recognises a journal of another one: both headers begin with
// the magic and the version at these offsets, and have the checksum of bytes 0..103 at 104. The bytes between are the
// version's own, and so are any behind 112, with a checksum of their own. A journal is refused, and not a byte of it
// changed, if a header that fits names another version, or both headers do whether they fit or not. Records that
// another version's build may skip (a new kind in the settle file) need no new version.
//
// `copies` are events that are, or were, in an older segment of the same run too: the copy counts, the older record
// does not. Such a segment is named segment-NNNNNN.draft until all of it is synced; a draft never counts. Its header
// names no predecessor: the fields for one describe the segment itself; its footer counts as synced too.
//
// record = 16 bytes of head, a body, zeros up to a multiple of 8. Every record begins at a multiple of 8.
//    0  2  0x4A53, "SJ"                         4  4  size: head and body
//    2  1  kind, in an event with flags         8  8  XXH3-64 of the body, seeded with
//    3  1  event: length of its content type          seed + offset * 0x9E3779B97F4A7C15 + bytes 0..7 of the head
// So a record, or a payload that contains one, fits only at the offset at which it was written.
//
//   event   kind 1, +0x10: begins a request, +0x20: ends it. Of a request that is not whole nothing counts
//           body: 8 sequence, 8 nanoseconds since 1970 at which it was received, content type, payload
//   begin   kind 2, end: kind 3, of a commit, alike
//           body: 8 sequence of the first event, 4 events, 4 requests, 8 bytes from begin to end, both included,
//           8 offset before which everything was synced when this was written
//   footer  kind 4, ends the file: the segment is complete and synced
//           body: 8 first sequence, 8 last sequence, 8 events, 8 commits, 8 its own offset
//   settles kind 5, in settled files, whose seed is the segment's + 1
//           body: ranges, each 8 first sequence, 8 how many
//   tail    kind 7, in the last two blocks of a segment that is not sealed
//           body: 8 offset, then the bytes that stand there
//   header  kind 6, a third copy of it, first in the settle file, so that damage to the segment does not reach it
//   copy    body: the 112 bytes of the header, 8 size of the segment when it was made; 0: not known
//           Written when both headers, and that size, are synced. So if they are missing, or the file is shorter and
//           has no footer, that is damage, not a crash. Older builds have not written it, and skip it.
//
// Example: event 7, "hi" of type "text/plain", alone in its request, the first of a segment with seed 1, so at 8240
// (8192 + 48 for the begin of its commit), received 2026-11-24T00:00:00Z. 44 bytes, padded to 48:
//   53 4A 31 0A 2C 00 00 00   magic, event + begins + ends, 10 bytes of type, size 44
//   F8 03 84 78 1C 56 D5 65   checksum
//   07 00 00 00 00 00 00 00   sequence
//   00 00 E3 89 17 D2 EA 18   time
//   74 65 78 74 2F 70 6C 61 69 6E 68 69 00 00 00 00   "text/plain" "hi"
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/event.h"

namespace sluice::journal {

static_assert(std::endian::native == std::endian::little, "the format is the memory of a little endian machine");

constexpr std::uint32_t kVersion = 2;  // is written
[[nodiscard]] constexpr bool is_read(std::uint32_t version) noexcept { return version == 1 || version == kVersion; }
constexpr std::size_t kHeaderSize = 112;
constexpr std::uint64_t kSecondHeader = 4096;
constexpr std::uint64_t kFirstCommit = 8192;
constexpr std::size_t kHeadSize = 16;
constexpr std::size_t kEventFrame = kHeadSize + 8 + 8;               // before an event's type and payload
constexpr std::size_t kCommitFrame = kHeadSize + 8 + 4 + 4 + 8 + 8;  // begin and end, each
constexpr std::size_t kFooterSize = kHeadSize + 8 + 8 + 8 + 8 + 8;
constexpr std::size_t kRangeSize = 16;
constexpr std::size_t kHeaderCopySize = kHeadSize + kHeaderSize + 8;
constexpr std::size_t kTailFrame = kHeadSize + 8;  // before the bytes in a copy of a tail
constexpr std::size_t kAlign = 8;
// The most an event costs in a settle file: a record of its own with one range.
constexpr std::uint64_t kSettleBytes = kHeadSize + kRangeSize;

[[nodiscard]] constexpr std::uint64_t aligned(std::uint64_t size) noexcept {
  return (size + kAlign - 1) & ~(kAlign - 1);
}
// The unit that a disk writes, at most; a larger one would need larger steps.
constexpr std::uint64_t kBlock = 4096;
// At the end of a segment that is not sealed: two copies of its last block.
constexpr std::uint64_t kTailRoom = 2 * kBlock;
// The first block boundary that is not before this offset.
[[nodiscard]] constexpr std::uint64_t next_block(std::uint64_t offset) noexcept {
  return (offset + kBlock - 1) & ~(kBlock - 1);
}

enum class SegmentKind : std::uint32_t { taken = 0, copies = 1 };

struct Header {
  std::uint32_t version = kVersion;
  SegmentKind kind = SegmentKind::taken;
  std::uint64_t seed = 0;
  RunId run;
  std::uint64_t ordinal = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t predecessor = 0;
  std::uint64_t predecessor_seed = 0;
  std::uint64_t predecessor_end = 0;
  std::uint64_t predecessor_synced = 0;
  std::uint64_t predecessor_events = 0;
  std::uint64_t predecessor_last = 0;
};
using HeaderBytes = std::array<std::byte, kHeaderSize>;
[[nodiscard]] HeaderBytes encode(const Header& header) noexcept;
// Nothing if the checksum does not fit. If `version` is another one, no other member is valid.
[[nodiscard]] std::optional<Header> decode_header(std::span<const std::byte> bytes) noexcept;
// The version that this header names, if it begins as one; the checksum is not checked.
[[nodiscard]] std::optional<std::uint32_t> version_named(std::span<const std::byte> bytes) noexcept;

enum class RecordKind : std::uint8_t {
  event = 1,
  begin = 2,
  end = 3,
  footer = 4,
  settles = 5,
  header_copy = 6,
  tail = 7
};
constexpr std::uint8_t kBeginsRequest = 0x10;
constexpr std::uint8_t kEndsRequest = 0x20;

// The first 8 bytes of a record; its checksum is not checked yet.
struct Head {
  RecordKind kind{};
  bool begins_request = false, ends_request = false;
  std::uint8_t type_size = 0;
  std::uint32_t size = 0;  // of the record, without padding
};
// Nothing if these bytes cannot be the head of a record.
[[nodiscard]] std::optional<Head> peek(std::span<const std::byte> bytes) noexcept;
// `record` is all of it, without padding, and lies at `offset`.
[[nodiscard]] bool fits(std::span<const std::byte> record, std::uint64_t seed, std::uint64_t offset) noexcept;

// The same for a record that is too long for one piece of memory.
class LongCheck {
 public:
  LongCheck(std::span<const std::byte> head, std::uint64_t seed, std::uint64_t offset) noexcept;
  ~LongCheck();
  LongCheck(const LongCheck&) = delete;
  LongCheck& operator=(const LongCheck&) = delete;
  void add(std::span<const std::byte> body) noexcept;
  [[nodiscard]] bool fits() const noexcept;

 private:
  void* state_;
  std::uint64_t expected_;
};

// Writes the frame of an event whose type and payload follow it already, with zeros up to a multiple of 8.
struct EventMark {
  std::uint64_t sequence = 0;
  std::chrono::system_clock::time_point received;
  bool begins_request = true, ends_request = true;
};
void frame_event(std::byte* record, std::size_t type_size, std::size_t payload_size, const EventMark& mark,
                 std::uint64_t seed, std::uint64_t offset) noexcept;

struct CommitFrame {
  std::uint64_t first_sequence = 0;
  std::uint32_t events = 0;
  std::uint32_t requests = 0;
  std::uint64_t length = 0;
  std::uint64_t synced = 0;
};
using CommitFrameBytes = std::array<std::byte, kCommitFrame>;
[[nodiscard]] CommitFrameBytes encode(RecordKind begin_or_end, const CommitFrame& frame, std::uint64_t seed,
                                      std::uint64_t offset) noexcept;

struct Footer {
  std::uint64_t first_sequence = 0, last_sequence = 0;
  std::uint64_t events = 0, commits = 0;
  std::uint64_t offset = 0;
};
using FooterBytes = std::array<std::byte, kFooterSize>;
[[nodiscard]] FooterBytes encode(const Footer& footer, std::uint64_t seed) noexcept;

struct Range {
  std::uint64_t first = 0, count = 0;
};
// A record of settles, with its padding.
[[nodiscard]] std::string encode(std::span<const Range> ranges, std::uint64_t seed, std::uint64_t offset);
[[nodiscard]] constexpr std::uint64_t settled_seed(std::uint64_t segment_seed) noexcept { return segment_seed + 1; }

// The third copy of a segment's header, at the beginning of its settle file.
struct HeaderCopy {
  Header header;
  std::uint64_t size = 0;  // of the segment when it was made; 0: not known
};
using HeaderCopyBytes = std::array<std::byte, kHeaderCopySize>;
[[nodiscard]] HeaderCopyBytes encode(const HeaderCopy& copy) noexcept;
// `bytes`: the beginning of a settle file. Nothing if it has no copy; another version as in decode_header().
[[nodiscard]] std::optional<HeaderCopy> decode_header_copy(std::span<const std::byte> bytes) noexcept;

// A copy of a tail, to be written at `at`. `bytes`: one at least, kBlock - kTailFrame at most.
struct TailView {
  std::uint64_t offset = 0;
  std::span<const std::byte> bytes;
};
[[nodiscard]] std::vector<std::byte> encode(const TailView& tail, std::uint64_t seed, std::uint64_t at);
[[nodiscard]] TailView tail_in(std::span<const std::byte> record) noexcept;

// One event: what its record holds, and what a record is made of. Views into the memory of its reader or owner.
struct Record {
  std::uint64_t sequence = 0;
  std::chrono::system_clock::time_point received;
  std::string_view content_type;
  std::span<const std::byte> payload;
};
[[nodiscard]] Record event_in(std::span<const std::byte> record) noexcept;
[[nodiscard]] std::optional<CommitFrame> commit_frame_in(std::span<const std::byte> record) noexcept;
[[nodiscard]] std::optional<Footer> footer_in(std::span<const std::byte> record) noexcept;
[[nodiscard]] Range range_in(std::span<const std::byte> record, std::size_t i) noexcept;
[[nodiscard]] std::size_t ranges_in(std::span<const std::byte> record) noexcept;

// segment-000012
[[nodiscard]] std::string segment_name(std::uint64_t number);
[[nodiscard]] std::string settled_name(std::uint64_t number);
[[nodiscard]] std::string damaged_name(std::uint64_t number);
[[nodiscard]] std::string draft_name(std::string_view of);
[[nodiscard]] bool is_draft(std::string_view name) noexcept;
struct FileName {
  enum class What : std::uint8_t { segment, settled, damaged } what;
  std::uint64_t number;
};
[[nodiscard]] std::optional<FileName> parse_name(std::string_view name) noexcept;

}  // namespace sluice::journal
