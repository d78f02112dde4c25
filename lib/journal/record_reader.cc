// See the header.
#include "journal/record_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

namespace sluice::journal {

namespace {

// A byte has the same offset within a cache line in the buffer as in the file, and so in the page cache: then the
// kernel copies whole lines, which is twice as fast.
constexpr std::size_t kLine = 64;
constexpr std::size_t kLongest = RecordReader::kBuffer - kLine;
// The rest of a file may be so short. If more than this cannot be read at once, the disk is away.
constexpr std::size_t kLittle = std::size_t{64} << 10U;

// Compares each byte with its neighbour: every start reads much preallocated room, so this has to be fast.
bool is_zero(std::span<const std::byte> bytes) noexcept {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Whether a writer has put this record at the beginning of a block, with nothing between it and `end`, the end of the
// synced bytes.
bool follows(const RecordReader::Item& item, std::uint64_t end) noexcept {
  if (item.head.kind == RecordKind::footer) return true;  // its counts show whether anything is missing
  if (item.head.kind != RecordKind::begin) return false;
  const std::optional<CommitFrame> frame = commit_frame_in(item.record);
  return frame && frame->synced == end;
}

Buffer allocate(std::size_t bytes) {
  return {static_cast<std::byte*>(::operator new(bytes)), [](std::byte* piece) { ::operator delete(piece); }};
}

}  // namespace

RecordReader::RecordReader(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to,
                           BufferSource buffers)
    : file_(file), seed_(seed), at_(from), to_(to), buffers_(std::move(buffers)) {}

Buffer RecordReader::take_buffer() noexcept {
  filled_ = 0;
  return std::move(buffer_);
}

// Up to `size` bytes from `offset` on; fewer before the end, or after an error.
std::span<const std::byte> RecordReader::view(std::uint64_t offset, std::size_t size) {
  if (offset >= to_) return {};
  size = static_cast<std::size_t>(std::min<std::uint64_t>(size, to_ - offset));
  if (offset < buffer_at_ || offset + size > buffer_at_ + filled_) read_from(offset, size);
  const auto begin = static_cast<std::size_t>(offset - buffer_at_);
  return {begin_ + begin, std::min(size, filled_ - begin)};
}

// At least `size` bytes, as many as the buffer holds.
void RecordReader::read_from(std::uint64_t offset, std::size_t size) {
  const std::size_t bytes = size > kLongest ? size + kLine : kBuffer;
  Buffer before;
  if (!buffer_ || buffer_bytes_ != bytes) {
    before = std::exchange(buffer_, buffers_ ? buffers_(bytes) : allocate(bytes));
    buffer_bytes_ = bytes;
  }
  std::byte* const begin = buffer_.get() + (offset - reinterpret_cast<std::uintptr_t>(buffer_.get())) % kLine;
  const auto room = bytes - static_cast<std::size_t>(begin - buffer_.get());
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(room, to_ - offset));
  // Bytes that are in the buffer are copied, not read again: a failing disk is read as little as possible.
  std::size_t kept = 0;
  if (offset >= buffer_at_ && offset < buffer_at_ + filled_) {
    kept = static_cast<std::size_t>(buffer_at_ + filled_ - offset);
    std::memmove(begin, begin_ + (offset - buffer_at_), kept);
  }
  std::size_t got = 0;
  std::error_code error = file_.read(offset + kept, std::span(begin + kept, want - kept), got);
  if (error && around_) {
    std::size_t more = 0;
    const auto rest = std::span(begin + kept + got, want - kept - got);
    const std::error_code away = read_by_blocks(offset + kept + got, rest, more);
    if (got > 0 || !away) {
      error.clear();
      got += more;
    }
  }
  if (error) error_ = error;
  begin_ = begin;
  buffer_at_ = offset;
  filled_ = kept + got;
}

// Reads unreadable blocks as zeros, and remembers them. An error if nothing can be read here, nor at some places
// behind: then the disk is away.
std::error_code RecordReader::read_by_blocks(std::uint64_t from, std::span<std::byte> to, std::size_t& got) {
  std::error_code first;
  bool any = false;
  while (got < to.size()) {
    const std::uint64_t at = from + got;
    const auto piece = to.subspan(got, std::min(to.size() - got, kBlock - at % kBlock));
    std::size_t here = 0;
    if (const std::error_code error = file_.read(at, piece, here)) {
      first = error;
      std::ranges::fill(piece, std::byte{0});
      here = piece.size();
      if (!is_unreadable(at)) unreadable_.push_back(at / kBlock * kBlock);
    } else {
      any = any || here > 0;
    }
    got += here;
    if (here < piece.size()) break;  // the end of the file
  }
  if (any || !first) return {};
  std::array<std::byte, kAlign> word{};
  std::size_t there = 0;
  const std::uint64_t behind = from + to.size();
  for (std::uint64_t at = behind, step = kBlock; at < to_; at += step, step *= 2) {
    if (!file_.read(at, word, there) && there > 0) return {};
  }
  return behind >= to_ && to.size() <= kLittle && !file_.read(0, word, there) ? std::error_code() : first;
}

bool RecordReader::is_unreadable(std::uint64_t offset) const noexcept {
  return std::ranges::find(unreadable_, offset / kBlock * kBlock) != unreadable_.end();
}

bool RecordReader::long_record_fits(const Head& head, std::span<const std::byte> head_bytes) {
  LongCheck check(head_bytes.first(kHeadSize), seed_, at_);
  std::uint64_t at = at_ + kHeadSize;
  const std::uint64_t end = at_ + head.size;
  while (at < end) {
    const auto piece = view(at, static_cast<std::size_t>(std::min<std::uint64_t>(kLongest, end - at)));
    if (piece.empty()) return false;
    check.add(piece);
    at += piece.size();
  }
  return check.fits();
}

// The record at at_, or nothing.
std::optional<RecordReader::Item> RecordReader::record_here() {
  const std::optional<Head> head = peek(view(at_, kHeadSize));
  if (!head || head->size > to_ - at_) return std::nullopt;
  if (head->size > kLongest && !long_record_fits(*head, view(at_, kHeadSize))) return std::nullopt;
  const auto record = view(at_, head->size);
  if (record.size() != head->size || !fits(record, seed_, at_)) return std::nullopt;
  return Item{.what = What::record, .offset = at_, .size = aligned(head->size), .head = *head, .record = record};
}

// The first record of the next block, if only zeros lie before it and it allows that; or the end.
std::optional<RecordReader::Item> RecordReader::behind_padding() {
  const std::uint64_t begin = at_;
  const std::uint64_t end = next_block(begin);
  if (end == begin || end > to_) return std::nullopt;
  const auto padding = view(begin, static_cast<std::size_t>(end - begin));
  if (padding.size() != end - begin || !is_zero(padding)) return std::nullopt;
  if (end == to_) return at_footer_ ? std::optional(Item{.what = What::end, .offset = end}) : std::nullopt;
  at_ = end;
  std::optional<Item> item = record_here();
  at_ = begin;
  return item && follows(*item, begin) ? item : std::nullopt;
}

bool RecordReader::next_in_buffer(Item& item) {
  const std::uint64_t filled_to = std::min(to_, buffer_at_ + filled_);
  if (at_ < buffer_at_ || at_ >= filled_to) return false;
  auto rest = view(at_, static_cast<std::size_t>(filled_to - at_));
  std::optional<Head> head = peek(rest);
  const std::uint64_t padding = next_block(at_) - at_;
  const bool padded =
      !head && padding > 0 && padding < rest.size() && is_zero(rest.first(static_cast<std::size_t>(padding)));
  if (padded) {
    rest = rest.subspan(static_cast<std::size_t>(padding));
    head = peek(rest);
  }
  if (!head || head->size > rest.size()) return false;
  const auto record = rest.first(head->size);
  __builtin_prefetch(record.data() + aligned(head->size));  // the next one's head, while this one is checked
  const std::uint64_t offset = padded ? at_ + padding : at_;
  if (!fits(record, seed_, offset)) return false;
  if (padded) {
    if (!follows({.what = What::record, .head = *head, .record = record}, at_)) return false;
    at_ = offset;
  }
  item = {.what = What::record, .offset = at_, .size = aligned(head->size), .head = *head, .record = record};
  at_ += item.size;
  return true;
}

RecordReader::Item RecordReader::next() {
  const std::uint64_t begin = at_;
  std::uint64_t used = 0;
  bool unreadable = false;
  bool ends = false;  // it begins with readable zeros: behind these nothing was written
  while (at_ < to_) {
    const std::optional<Item> item = record_here();
    if (error_) return {.what = What::error, .offset = at_};
    if (item) {
      if (at_ > begin) break;  // the hole first
      at_ += item->size;
      return *item;
    }
    if (at_ == begin) {
      const std::optional<Item> next = behind_padding();
      if (error_) return {.what = What::error, .offset = at_};
      if (next) {
        at_ = next->offset + next->size;
        return *next;
      }
    }
    const auto word = view(at_, kAlign);
    if (word.empty()) {  // the file ends before `to_`
      to_ = at_;
      break;
    }
    const bool gone = !unreadable_.empty() && is_unreadable(at_);
    const bool zero = !gone && is_zero(word);
    ends = at_ == begin ? zero : ends;
    unreadable = unreadable || (gone && !ends);
    at_ += kAlign;
    if (!zero && !(gone && ends)) used = at_ - begin;
    // Larger steps over zeros, the preallocated rest of a segment.
    for (auto more = view(at_, kBlock); zero && more.size() == kBlock && is_zero(more); more = view(at_, kBlock)) {
      if (!unreadable_.empty() && (is_unreadable(at_) || is_unreadable(at_ + kBlock - 1))) break;
      at_ += kBlock;
    }
  }
  if (at_ == begin) return {.what = What::end, .offset = at_};
  at_ = std::min(at_, to_);
  return {.what = What::hole,
          .offset = begin,
          .size = at_ - begin,
          .used = std::min(used, at_ - begin),
          .unreadable = unreadable};
}

}  // namespace sluice::journal
