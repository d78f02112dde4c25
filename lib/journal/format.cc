// The code of the page in format.h. The only file that includes xxHash. Any thread; keeps no state.
#include "journal/format.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace sluice::journal {

namespace {

constexpr std::array<char, 8> kMagic{'S', 'L', 'U', 'I', 'C', 'E', 'J', '\n'};
constexpr std::size_t kHeaderCheckAt = kHeaderSize - 8;
constexpr std::uint16_t kRecordMagic = 0x4A53;
constexpr std::size_t kCheckAt = 8;  // in a head
constexpr std::uint8_t kKindBits = 0x0F;

template <typename T>
void put(std::byte* to, std::size_t at, T value) noexcept {
  std::memcpy(to + at, &value, sizeof value);
}

template <typename T>
T get(const std::byte* from, std::size_t at) noexcept {
  T value;
  std::memcpy(&value, from + at, sizeof value);
  return value;
}

std::uint64_t seed_of(const std::byte* head, std::uint64_t seed, std::uint64_t offset) noexcept {
  return seed + offset * 0x9E3779B97F4A7C15U + get<std::uint64_t>(head, 0);
}

void put_head(std::byte* record, std::uint8_t kind, std::uint8_t type_size, std::size_t size, std::uint64_t seed,
              std::uint64_t offset) noexcept {
  put(record, 0, kRecordMagic);
  put(record, 2, kind);
  put(record, 3, type_size);
  put(record, 4, static_cast<std::uint32_t>(size));
  put(record, kCheckAt, XXH3_64bits_withSeed(record + kHeadSize, size - kHeadSize, seed_of(record, seed, offset)));
}

std::int64_t nanoseconds(std::chrono::system_clock::time_point time) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

constexpr std::string_view kPrefix = "segment-";
constexpr std::string_view kSettled = ".settled";
constexpr std::string_view kDamaged = ".damaged";
constexpr std::string_view kDraft = ".draft";

}  // namespace

HeaderBytes encode(const Header& header) noexcept {
  HeaderBytes bytes{};
  std::byte* const to = bytes.data();
  std::memcpy(to, kMagic.data(), kMagic.size());
  put(to, 8, header.version);
  put(to, 12, static_cast<std::uint32_t>(header.kind));
  put(to, 16, header.seed);
  std::memcpy(to + 24, header.run.bytes.data(), header.run.bytes.size());
  put(to, 40, header.ordinal);
  put(to, 48, header.first_sequence);
  put(to, 56, header.predecessor);
  put(to, 64, header.predecessor_seed);
  put(to, 72, header.predecessor_end);
  put(to, 80, header.predecessor_synced);
  put(to, 88, header.predecessor_events);
  put(to, 96, header.predecessor_last);
  put(to, kHeaderCheckAt, XXH3_64bits(to, kHeaderCheckAt));
  return bytes;
}

std::optional<Header> decode_header(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kHeaderSize || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  const std::byte* const from = bytes.data();
  if (get<std::uint64_t>(from, kHeaderCheckAt) != XXH3_64bits(from, kHeaderCheckAt)) return std::nullopt;
  Header header;
  header.version = get<std::uint32_t>(from, 8);
  header.kind = static_cast<SegmentKind>(get<std::uint32_t>(from, 12));
  header.seed = get<std::uint64_t>(from, 16);
  std::memcpy(header.run.bytes.data(), from + 24, header.run.bytes.size());
  header.ordinal = get<std::uint64_t>(from, 40);
  header.first_sequence = get<std::uint64_t>(from, 48);
  header.predecessor = get<std::uint64_t>(from, 56);
  header.predecessor_seed = get<std::uint64_t>(from, 64);
  header.predecessor_end = get<std::uint64_t>(from, 72);
  header.predecessor_synced = get<std::uint64_t>(from, 80);
  header.predecessor_events = get<std::uint64_t>(from, 88);
  header.predecessor_last = get<std::uint64_t>(from, 96);
  return header;
}

std::optional<std::uint32_t> version_named(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kHeaderSize || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  return get<std::uint32_t>(bytes.data(), 8);
}

std::optional<Head> peek(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < kHeadSize || get<std::uint16_t>(bytes.data(), 0) != kRecordMagic) return std::nullopt;
  const auto kind = get<std::uint8_t>(bytes.data(), 2);
  Head head;
  head.kind = static_cast<RecordKind>(kind & kKindBits);
  head.begins_request = (kind & kBeginsRequest) != 0;
  head.ends_request = (kind & kEndsRequest) != 0;
  head.type_size = get<std::uint8_t>(bytes.data(), 3);
  head.size = get<std::uint32_t>(bytes.data(), 4);
  switch (head.kind) {
    case RecordKind::event:
      if (head.size < kEventFrame + head.type_size) return std::nullopt;
      return head;
    case RecordKind::begin:
    case RecordKind::end:
      if (head.size != kCommitFrame) return std::nullopt;
      return head;
    case RecordKind::footer:
      if (head.size != kFooterSize) return std::nullopt;
      return head;
    case RecordKind::header_copy:
      if (head.size != kHeaderCopySize) return std::nullopt;
      return head;
    case RecordKind::tail:
      if (head.size <= kTailFrame || head.size > kBlock) return std::nullopt;
      return head;
    case RecordKind::settles:
      if (head.size <= kHeadSize || (head.size - kHeadSize) % kRangeSize != 0) return std::nullopt;
      return head;
  }
  return std::nullopt;
}

bool fits(std::span<const std::byte> record, std::uint64_t seed, std::uint64_t offset) noexcept {
  if (record.size() < kHeadSize) return false;
  return get<std::uint64_t>(record.data(), kCheckAt) == XXH3_64bits_withSeed(record.data() + kHeadSize,
                                                                             record.size() - kHeadSize,
                                                                             seed_of(record.data(), seed, offset));
}

LongCheck::LongCheck(std::span<const std::byte> head, std::uint64_t seed, std::uint64_t offset) noexcept
    : state_(XXH3_createState()), expected_(get<std::uint64_t>(head.data(), kCheckAt)) {
  if (state_ != nullptr) {
    XXH3_64bits_reset_withSeed(static_cast<XXH3_state_t*>(state_), seed_of(head.data(), seed, offset));
  }
}
LongCheck::~LongCheck() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void LongCheck::add(std::span<const std::byte> body) noexcept {
  if (state_ != nullptr) XXH3_64bits_update(static_cast<XXH3_state_t*>(state_), body.data(), body.size());
}
bool LongCheck::fits() const noexcept {
  return state_ != nullptr && XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_)) == expected_;
}

void frame_event(std::byte* record, std::size_t type_size, std::size_t payload_size, const EventMark& mark,
                 std::uint64_t seed, std::uint64_t offset) noexcept {
  put(record, 16, mark.sequence);
  put(record, 24, nanoseconds(mark.received));
  const auto kind =
      static_cast<std::uint8_t>(static_cast<unsigned>(RecordKind::event) | (mark.begins_request ? kBeginsRequest : 0U) |
                                (mark.ends_request ? kEndsRequest : 0U));
  put_head(record, kind, static_cast<std::uint8_t>(type_size), kEventFrame + type_size + payload_size, seed, offset);
}

CommitFrameBytes encode(RecordKind begin_or_end, const CommitFrame& frame, std::uint64_t seed,
                        std::uint64_t offset) noexcept {
  CommitFrameBytes bytes{};
  std::byte* const to = bytes.data();
  put(to, 16, frame.first_sequence);
  put(to, 24, frame.events);
  put(to, 28, frame.requests);
  put(to, 32, frame.length);
  put(to, 40, frame.synced);
  put_head(to, static_cast<std::uint8_t>(begin_or_end), 0, bytes.size(), seed, offset);
  return bytes;
}

FooterBytes encode(const Footer& footer, std::uint64_t seed) noexcept {
  FooterBytes bytes{};
  std::byte* const to = bytes.data();
  put(to, 16, footer.first_sequence);
  put(to, 24, footer.last_sequence);
  put(to, 32, footer.events);
  put(to, 40, footer.commits);
  put(to, 48, footer.offset);
  put_head(to, static_cast<std::uint8_t>(RecordKind::footer), 0, bytes.size(), seed, footer.offset);
  return bytes;
}

std::string encode(std::span<const Range> ranges, std::uint64_t seed, std::uint64_t offset) {
  std::string text(kHeadSize + ranges.size() * kRangeSize, '\0');
  auto* const to = reinterpret_cast<std::byte*>(text.data());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    put(to, kHeadSize + i * kRangeSize, ranges[i].first);
    put(to, kHeadSize + i * kRangeSize + 8, ranges[i].count);
  }
  put_head(to, static_cast<std::uint8_t>(RecordKind::settles), 0, text.size(), seed, offset);
  return text;
}

HeaderCopyBytes encode(const HeaderCopy& copy) noexcept {
  HeaderCopyBytes bytes{};
  const HeaderBytes header = encode(copy.header);
  std::memcpy(bytes.data() + kHeadSize, header.data(), header.size());
  put(bytes.data(), kHeadSize + kHeaderSize, copy.size);
  put_head(bytes.data(), static_cast<std::uint8_t>(RecordKind::header_copy), 0, bytes.size(),
           settled_seed(copy.header.seed), 0);
  return bytes;
}

std::optional<HeaderCopy> decode_header_copy(std::span<const std::byte> bytes) noexcept {
  const std::optional<Head> head = peek(bytes);
  if (!head || head->kind != RecordKind::header_copy || bytes.size() < kHeaderCopySize) return std::nullopt;
  const std::optional<Header> header = decode_header(bytes.subspan(kHeadSize));
  if (!header) return std::nullopt;
  if (!is_read(header->version)) return HeaderCopy{*header, 0};
  if (!fits(bytes.first(kHeaderCopySize), settled_seed(header->seed), 0)) return std::nullopt;
  return HeaderCopy{*header, get<std::uint64_t>(bytes.data(), kHeadSize + kHeaderSize)};
}

std::vector<std::byte> encode(const TailView& tail, std::uint64_t seed, std::uint64_t at) {
  std::vector<std::byte> bytes(kTailFrame + tail.bytes.size());
  put(bytes.data(), kHeadSize, tail.offset);
  std::memcpy(bytes.data() + kTailFrame, tail.bytes.data(), tail.bytes.size());
  put_head(bytes.data(), static_cast<std::uint8_t>(RecordKind::tail), 0, bytes.size(), seed, at);
  return bytes;
}

TailView tail_in(std::span<const std::byte> record) noexcept {
  return {get<std::uint64_t>(record.data(), kHeadSize), record.subspan(kTailFrame)};
}

Record event_in(std::span<const std::byte> record) noexcept {
  const std::byte* const from = record.data();
  const auto type_size = get<std::uint8_t>(from, 3);
  const auto* const type = reinterpret_cast<const char*>(from + kEventFrame);
  const std::chrono::nanoseconds since{get<std::int64_t>(from, 24)};
  return {.sequence = get<std::uint64_t>(from, 16),
          .received = std::chrono::system_clock::time_point(
              std::chrono::duration_cast<std::chrono::system_clock::duration>(since)),
          .content_type = {type, type_size},
          .payload = record.subspan(kEventFrame + type_size)};
}

std::optional<CommitFrame> commit_frame_in(std::span<const std::byte> record) noexcept {
  if (record.size() != kCommitFrame) return std::nullopt;
  const std::byte* const from = record.data();
  return CommitFrame{.first_sequence = get<std::uint64_t>(from, 16),
                     .events = get<std::uint32_t>(from, 24),
                     .requests = get<std::uint32_t>(from, 28),
                     .length = get<std::uint64_t>(from, 32),
                     .synced = get<std::uint64_t>(from, 40)};
}

std::optional<Footer> footer_in(std::span<const std::byte> record) noexcept {
  if (record.size() != kFooterSize) return std::nullopt;
  const std::byte* const from = record.data();
  return Footer{.first_sequence = get<std::uint64_t>(from, 16),
                .last_sequence = get<std::uint64_t>(from, 24),
                .events = get<std::uint64_t>(from, 32),
                .commits = get<std::uint64_t>(from, 40),
                .offset = get<std::uint64_t>(from, 48)};
}

std::size_t ranges_in(std::span<const std::byte> record) noexcept { return (record.size() - kHeadSize) / kRangeSize; }

Range range_in(std::span<const std::byte> record, std::size_t i) noexcept {
  const std::byte* const from = record.data() + kHeadSize + i * kRangeSize;
  return {get<std::uint64_t>(from, 0), get<std::uint64_t>(from, 8)};
}

std::string segment_name(std::uint64_t number) { return fmt::format("{}{:06}", kPrefix, number); }
std::string settled_name(std::uint64_t number) { return segment_name(number) + std::string(kSettled); }
std::string damaged_name(std::uint64_t number) { return segment_name(number) + std::string(kDamaged); }
std::string draft_name(std::string_view of) { return std::string(of) + std::string(kDraft); }
bool is_draft(std::string_view name) noexcept { return name.ends_with(kDraft); }

std::optional<FileName> parse_name(std::string_view name) noexcept {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  FileName parsed{FileName::What::segment, 0};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), parsed.number);
  if (error != std::errc() || end < name.data() + 6 || parsed.number == 0) return std::nullopt;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  if (name == kSettled) {
    parsed.what = FileName::What::settled;
  } else if (name == kDamaged) {
    parsed.what = FileName::What::damaged;
  } else if (!name.empty()) {
    return std::nullopt;
  }
  return parsed;
}

}  // namespace sluice::journal
