// Reads a file of records from one offset to another. If a record does not fit, it searches for the next one that does,
// 8 bytes at a time: the bytes between are a hole. A read error ends it; a reader that reads around errors takes such
// blocks for a hole as well, unless nothing near them can be read: then the disk is away, which is an error. One
// thread; it holds a buffer of 256 KiB, a larger one only for a longer record that fits. The zeros before a commit that
// begins in a block of its own (format.h) are no hole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/record_source.h"

namespace sluice::journal {

class RecordReader {
 public:
  enum class What : std::uint8_t { record, hole, end, error };
  struct Item {
    What what = What::end;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;               // with padding
    std::uint64_t used = 0;               // of a hole: up to its last word that is not zero or not readable
    bool unreadable = false;              // a hole, and some of it cannot be read
    Head head{};                          // of a record
    std::span<const std::byte> record{};  // without padding; valid until the next call
  };

  static constexpr std::size_t kBuffer = std::size_t{256} << 10U;

  // The file outlives it. `to` is not passed, nor the end of the file. Without `buffers`, the
  // buffer comes from the allocator.
  RecordReader(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to, BufferSource buffers = {});

  [[nodiscard]] Item next();
  // The next record if it fits and is in the buffer already, so that earlier items stay valid.
  [[nodiscard]] bool next_in_buffer(Item& item);
  // Gives the buffer away, with all items in it; the reader continues with a new one.
  [[nodiscard]] Buffer take_buffer() noexcept;
  [[nodiscard]] std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }
  // Continues from here; tries again what could not be read.
  void seek(std::uint64_t offset) noexcept {
    at_ = offset;
    error_.clear();
  }
  void extend(std::uint64_t to) noexcept { to_ = to; }
  // `to` is the end of the acknowledged bytes, perhaps a footer: zeros that fill a block up to there are the end.
  void ends_at_footer() noexcept { at_footer_ = true; }
  // From here it reads around errors.
  void read_around() noexcept { around_ = true; }
  // Why the last item was an error.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }
  [[nodiscard]] std::uint64_t at() const noexcept { return at_; }

 private:
  [[nodiscard]] std::span<const std::byte> view(std::uint64_t offset, std::size_t size);
  void read_from(std::uint64_t offset, std::size_t size);
  [[nodiscard]] std::error_code read_by_blocks(std::uint64_t from, std::span<std::byte> to, std::size_t& got);
  [[nodiscard]] bool is_unreadable(std::uint64_t offset) const noexcept;
  [[nodiscard]] bool long_record_fits(const Head& head, std::span<const std::byte> head_bytes);
  [[nodiscard]] std::optional<Item> record_here();
  [[nodiscard]] std::optional<Item> behind_padding();

  DiskFile& file_;
  const std::uint64_t seed_;
  std::uint64_t at_;
  std::uint64_t to_;
  const BufferSource buffers_;
  Buffer buffer_;  // not filled with zeros: most files are short
  std::size_t buffer_bytes_ = 0;
  std::byte* begin_ = nullptr;  // in the buffer: the byte at file offset buffer_at_
  std::uint64_t buffer_at_ = 0;
  std::size_t filled_ = 0;
  std::error_code error_;
  bool around_ = false, at_footer_ = false;
  std::vector<std::uint64_t> unreadable_;  // offsets of the unreadable blocks so far
};

}  // namespace sluice::journal
