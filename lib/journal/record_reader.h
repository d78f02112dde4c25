// Reads a file of records from one offset to another. Where a record does not fit it looks for the next one that does,
// 8 bytes at a time: what lies between is a hole. One thread; holds a buffer of 256 KiB, more only for a record that is
// longer and fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>

#include "journal/disk.h"
#include "journal/format.h"

namespace sluice::journal {

class RecordReader {
 public:
  enum class What : std::uint8_t { record, hole, end, error };
  struct Item {
    What what = What::end;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;             // with padding
    std::uint64_t used = 0;             // of a hole: up to its last word that is not zero
    Head head;                          // of a record
    std::span<const std::byte> record;  // without padding; valid until the next call
    std::error_code error;
  };

  // The file outlives it. `to` is not passed, nor the end of the file.
  RecordReader(DiskFile& file, std::uint64_t seed, std::uint64_t from, std::uint64_t to);

  [[nodiscard]] Item next();
  // The next record if it fits and is in the buffer already, so that what was given before it stays valid.
  [[nodiscard]] bool next_in_buffer(Item& item);
  // From here once more.
  void seek(std::uint64_t offset) noexcept { at_ = offset; }
  void extend(std::uint64_t to) noexcept { to_ = to; }
  [[nodiscard]] std::uint64_t at() const noexcept { return at_; }

 private:
  void resize_buffer(std::size_t size);
  [[nodiscard]] std::span<const std::byte> view(std::uint64_t offset, std::size_t size);
  [[nodiscard]] bool long_record_fits(const Head& head, std::span<const std::byte> head_bytes);
  [[nodiscard]] Item record_here();

  DiskFile& file_;
  const std::uint64_t seed_;
  std::uint64_t at_;
  std::uint64_t to_;
  std::unique_ptr<std::byte[]> buffer_;  // nobody fills it with zeros first: most files are short
  std::size_t capacity_;
  std::uint64_t buffer_at_ = 0;
  std::size_t filled_ = 0;
  std::error_code error_;
};

}  // namespace sluice::journal
