// See the header.
#include "journal/tail_copy.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::journal {

void TailedFile::set(TailCopy copy) {
  const std::lock_guard lock(mutex_);
  copies_.push_back(std::move(copy));
}

std::error_code TailedFile::read(std::uint64_t offset, std::span<std::byte> to, std::size_t& got) {
  const std::error_code error = file_->read(offset, to, got);
  const std::lock_guard lock(mutex_);
  for (const TailCopy& copy : copies_) {
    const std::uint64_t begin = std::max(offset, copy.offset);
    const std::uint64_t end = std::min(offset + got, copy.offset + copy.bytes.size());
    if (begin >= end) continue;
    const auto some = std::span(copy.bytes).subspan(begin - copy.offset, end - begin);
    std::ranges::copy(some, to.begin() + static_cast<std::ptrdiff_t>(begin - offset));
  }
  return error;
}

bool TailedFile::has_copy_up_to(std::uint64_t end) {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(copies_, [end](const TailCopy& copy) {
    return copy.offset <= end / kBlock * kBlock && end <= copy.offset + copy.bytes.size();
  });
}

std::error_code TailedFile::write_back(std::uint64_t end) {
  const std::lock_guard lock(mutex_);
  for (const TailCopy& copy : copies_) {
    if (copy.offset >= end) continue;
    const std::uint64_t size = std::min<std::uint64_t>(copy.bytes.size(), end - copy.offset);
    const std::array<std::span<const std::byte>, 1> piece{std::span(copy.bytes).first(size)};
    if (const auto error = file_->write(copy.offset, piece)) return error;
  }
  return {};
}

std::error_code TailedFile::drop_copies(std::uint64_t size) {
  const std::array<std::byte, kTailRoom> zeros{};
  const std::array<std::span<const std::byte>, 1> piece{std::span(zeros)};
  const std::lock_guard lock(mutex_);
  if (const auto error = file_->write(size - kTailRoom, piece)) return error;
  copies_.clear();
  return {};
}

std::vector<TailCopy> read_tail_copies(DiskFile& file, std::uint64_t seed, std::uint64_t size) {
  std::vector<TailCopy> copies;
  if (size < kFirstCommit + kTailRoom) return copies;
  for (std::uint64_t at = size - kTailRoom; at < size; at += kBlock) {
    std::array<std::byte, kBlock> bytes{};
    std::size_t got = 0;
    if (file.read(at, bytes, got) || got != bytes.size()) continue;
    const std::optional<Head> head = peek(bytes);
    if (!head || head->kind != RecordKind::tail || head->size > bytes.size()) continue;
    const auto record = std::span<const std::byte>(bytes).first(head->size);
    if (!fits(record, seed, at)) continue;
    const TailView tail = tail_in(record);
    if (tail.offset < kFirstCommit || tail.offset + tail.bytes.size() > size - kTailRoom) continue;
    copies.push_back({tail.offset, {tail.bytes.begin(), tail.bytes.end()}});
  }
  std::ranges::sort(copies, {}, [](const TailCopy& copy) { return copy.offset + copy.bytes.size(); });
  return copies;
}

std::error_code behind_padding(DiskFile& file, std::uint64_t synced, std::uint64_t& begin) {
  std::array<std::byte, kBlock> bytes{};
  const auto rest = std::span(bytes).first(static_cast<std::size_t>(next_block(synced) - synced));
  std::size_t got = 0;
  if (const auto error = file.read(synced, rest, got)) return error;
  const bool zeros = std::ranges::all_of(rest.first(got), [](std::byte b) { return b == std::byte{0}; });
  begin = zeros && got == rest.size() ? next_block(synced) : synced;
  return {};
}

}  // namespace sluice::journal
