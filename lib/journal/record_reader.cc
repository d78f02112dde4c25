// One record at a time out of a buffer. See the header.
#include "journal/record_reader.h"

#include <algorithm>
#include <cstring>

namespace sluice::journal {

namespace {

constexpr std::size_t kBuffer = std::size_t{256} << 10U;

// Each byte is as its neighbour, and the first is 0: much is preallocated, and looked at at every start.
bool is_zero(std::span<const std::byte> bytes) noexcept {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

RecordReader::RecordReader(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to)
    : file_(file),
      seed_(seed),
      at_(from),
      to_(to),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(kBuffer)),
      capacity_(kBuffer) {}

void RecordReader::resize_buffer(std::size_t size) {
  auto resized = std::make_unique_for_overwrite<std::byte[]>(size);
  filled_ = std::min(filled_, size);
  std::memcpy(resized.get(), buffer_.get(), filled_);
  buffer_ = std::move(resized);
  capacity_ = size;
}

// Up to `size` bytes from `offset` on; fewer before the end, or after an error.
std::span<const std::byte> RecordReader::view(std::uint64_t offset, std::size_t size) {
  if (offset >= to_) return {};
  size = static_cast<std::size_t>(std::min<std::uint64_t>(size, to_ - offset));
  if (offset < buffer_at_ || offset + size > buffer_at_ + filled_) {
    if (size > capacity_) resize_buffer(size);
    // What is there already stays: a failing disk is asked as little as possible, a fast one copies a little.
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(capacity_, to_ - offset));
    std::size_t kept = 0;
    if (offset >= buffer_at_ && offset < buffer_at_ + filled_) {
      kept = static_cast<std::size_t>(buffer_at_ + filled_ - offset);
      std::memmove(buffer_.get(), buffer_.get() + (offset - buffer_at_), kept);
    }
    std::size_t got = 0;
    if (const std::error_code error = file_.read(offset + kept, std::span(buffer_.get() + kept, want - kept), got)) {
      error_ = error;
    }
    buffer_at_ = offset;
    filled_ = kept + got;
  }
  const auto begin = static_cast<std::size_t>(offset - buffer_at_);
  return {buffer_.get() + begin, std::min(size, filled_ - begin)};
}

bool RecordReader::long_record_fits(const Head& head, std::span<const std::byte> head_bytes) {
  LongCheck check(head_bytes.first(kHeadSize), seed_, at_);
  std::uint64_t at = at_ + kHeadSize;
  const std::uint64_t end = at_ + head.size;
  while (at < end) {
    const auto piece = view(at, static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, end - at)));
    if (piece.empty()) return false;
    check.add(piece);
    at += piece.size();
  }
  return check.fits();
}

// The record at at_, if there is one.
RecordReader::Item RecordReader::record_here() {
  Item item;
  item.what = What::hole;
  const auto begin = view(at_, kHeadSize);
  const std::optional<Head> head = peek(begin);
  if (!head || head->size > to_ - at_) return item;
  if (head->size > kBuffer && !long_record_fits(*head, view(at_, kHeadSize))) return item;
  const auto record = view(at_, head->size);
  if (record.size() != head->size || !fits(record, seed_, at_)) return item;
  item = {.what = What::record,
          .offset = at_,
          .size = aligned(head->size),
          .used = 0,
          .head = *head,
          .record = record,
          .error = {}};
  return item;
}

bool RecordReader::next_in_buffer(Item& item) {
  const std::uint64_t filled_to = std::min(to_, buffer_at_ + filled_);
  if (at_ < buffer_at_ || at_ + kHeadSize > filled_to) return false;
  const std::optional<Head> head = peek(view(at_, kHeadSize));
  if (!head || head->size > filled_to - at_) return false;
  item = record_here();
  if (item.what != What::record) return false;
  at_ += item.size;
  return true;
}

RecordReader::Item RecordReader::next() {
  // A long record is behind us.
  if (capacity_ > kBuffer && filled_ <= kBuffer) resize_buffer(kBuffer);
  const std::uint64_t begin = at_;
  std::uint64_t used = 0;
  while (at_ < to_) {
    Item item = record_here();
    if (error_)
      return {.what = What::error, .offset = at_, .size = 0, .used = 0, .head = {}, .record = {}, .error = error_};
    if (item.what == What::record) {
      if (at_ > begin) break;  // the hole first
      at_ += item.size;
      return item;
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
  if (at_ == begin)
    return {.what = What::end, .offset = at_, .size = 0, .used = 0, .head = {}, .record = {}, .error = {}};
  at_ = std::min(at_, to_);
  return {.what = What::hole,
          .offset = begin,
          .size = at_ - begin,
          .used = std::min(used, at_ - begin),
          .head = {},
          .record = {},
          .error = {}};
}

}  // namespace sluice::journal
