// One record at a time out of a buffer. See the header.
#include "journal/record_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice::journal {

namespace {

// A byte lies as far into its line of the processor's cache here as it does in the file, and so in the page cache: the
// kernel then copies whole lines, which is twice as fast.
constexpr std::size_t kLine = 64;
constexpr std::size_t kLongest = RecordReader::kBuffer - kLine;

// Each byte is as its neighbour, and the first is 0: much is preallocated, and looked at at every start.
bool is_zero(std::span<const std::byte> bytes) noexcept {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

RecordReader::RecordReader(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to,
                           BlockMemory* memory)
    : file_(file), seed_(seed), at_(from), to_(to), memory_(memory) {}

BlockMemory::Lent RecordReader::take_buffer() noexcept {
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
  BlockMemory::Lent before;
  if (!buffer_ || buffer_bytes() != bytes) before = std::exchange(buffer_, BlockMemory::lend(memory_, bytes));
  std::byte* const begin = buffer_.get() + (offset - reinterpret_cast<std::uintptr_t>(buffer_.get())) % kLine;
  const auto room = bytes - static_cast<std::size_t>(begin - buffer_.get());
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(room, to_ - offset));
  // What is there already stays: a failing disk is asked as little as possible, a fast one copies a little.
  std::size_t kept = 0;
  if (offset >= buffer_at_ && offset < buffer_at_ + filled_) {
    kept = static_cast<std::size_t>(buffer_at_ + filled_ - offset);
    std::memmove(begin, begin_ + (offset - buffer_at_), kept);
  }
  std::size_t got = 0;
  if (const std::error_code error = file_.read(offset + kept, std::span(begin + kept, want - kept), got)) {
    error_ = error;
  }
  begin_ = begin;
  buffer_at_ = offset;
  filled_ = kept + got;
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

// The record at at_, if there is one.
std::optional<RecordReader::Item> RecordReader::record_here() {
  const std::optional<Head> head = peek(view(at_, kHeadSize));
  if (!head || head->size > to_ - at_) return std::nullopt;
  if (head->size > kLongest && !long_record_fits(*head, view(at_, kHeadSize))) return std::nullopt;
  const auto record = view(at_, head->size);
  if (record.size() != head->size || !fits(record, seed_, at_)) return std::nullopt;
  return Item{.what = What::record, .offset = at_, .size = aligned(head->size), .head = *head, .record = record};
}

bool RecordReader::next_in_buffer(Item& item) {
  const std::uint64_t filled_to = std::min(to_, buffer_at_ + filled_);
  if (at_ < buffer_at_ || at_ >= filled_to) return false;
  const auto rest = view(at_, static_cast<std::size_t>(filled_to - at_));
  const std::optional<Head> head = peek(rest);
  if (!head || head->size > rest.size()) return false;
  const auto record = rest.first(head->size);
  __builtin_prefetch(record.data() + aligned(head->size));  // the next one's head, while this one is checked
  if (!fits(record, seed_, at_)) return false;
  item = {.what = What::record, .offset = at_, .size = aligned(head->size), .head = *head, .record = record};
  at_ += item.size;
  return true;
}

RecordReader::Item RecordReader::next() {
  const std::uint64_t begin = at_;
  std::uint64_t used = 0;
  while (at_ < to_) {
    const std::optional<Item> item = record_here();
    if (error_) return {.what = What::error, .offset = at_};
    if (item) {
      if (at_ > begin) break;  // the hole first
      at_ += item->size;
      return *item;
    }
    const auto word = view(at_, kAlign);
    if (word.empty()) {  // the file ends before `to_`
      to_ = at_;
      break;
    }
    const bool zero = is_zero(word);
    at_ += kAlign;
    if (!zero) used = at_ - begin;
    // Long stretches of zeros, the preallocated rest of a segment, in larger steps.
    for (auto more = view(at_, 4096); zero && more.size() == 4096 && is_zero(more); more = view(at_, 4096)) at_ += 4096;
  }
  if (at_ == begin) return {.what = What::end, .offset = at_};
  at_ = std::min(at_, to_);
  return {.what = What::hole, .offset = begin, .size = at_ - begin, .used = std::min(used, at_ - begin)};
}

}  // namespace sluice::journal
