// A second copy of the synced bytes in the last block of a segment. Small commits share a block, so each rewrites bytes
// that an earlier one has acknowledged, and a failed write or sync may destroy them. Two blocks at the end of the file
// take turns: a commit writes its copy to one of them, while the other one, synced with the commit before, holds the
// older contents. format.h has the layout. A sealed segment has none: its file ends before them.
//
// TailedFile is a segment's file as read through such copies. Any thread reads; set() may be called by another thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <system_error>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"

namespace sluice::journal {

// Bytes of a segment of which there is a second copy.
struct TailCopy {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

class TailedFile final : public DiskFile {
 public:
  explicit TailedFile(std::unique_ptr<DiskFile> file) : file_(std::move(file)) {}

  // From here read() returns these bytes, whatever the disk has there.
  void set(TailCopy copy);
  // Whether there is a copy of the bytes before this offset that share its block. That block may be written.
  [[nodiscard]] bool has_copy_up_to(std::uint64_t end);
  // Writes them to their place, up to this offset; once that is synced the copies are not needed.
  [[nodiscard]] std::error_code write_back(std::uint64_t end);
  // After that sync: read() returns the file's own bytes again, and, if the file cannot be cut, the next start does not
  // see the copies. `size`: of the file.
  [[nodiscard]] std::error_code drop_copies(std::uint64_t size);

  [[nodiscard]] std::error_code write(std::uint64_t offset,
                                      std::span<const std::span<const std::byte>> pieces) override {
    return file_->write(offset, pieces);
  }
  // A read error stays an error.
  [[nodiscard]] std::error_code read(std::uint64_t offset, std::span<std::byte> to, std::size_t& got) override;
  [[nodiscard]] std::error_code sync() override { return file_->sync(); }
  [[nodiscard]] std::error_code preallocate(std::uint64_t size) override { return file_->preallocate(size); }
  [[nodiscard]] std::error_code truncate(std::uint64_t size) override { return file_->truncate(size); }
  [[nodiscard]] std::error_code stat(Stat& to) override { return file_->stat(to); }

 private:
  const std::unique_ptr<DiskFile> file_;
  std::mutex mutex_;
  std::vector<TailCopy> copies_;  // guarded by mutex_; nearly always empty
};

// The intact copies at the end of an unsealed segment of this size, the shorter one first.
[[nodiscard]] std::vector<TailCopy> read_tail_copies(DiskFile& file, std::uint64_t seed, std::uint64_t size);

// The offset at which the bytes after the synced ones begin: the next block, which may be rewritten, if only zeros lie
// between; else `synced` itself, because both share a block.
[[nodiscard]] std::error_code behind_padding(DiskFile& file, std::uint64_t synced, std::uint64_t& begin);

}  // namespace sluice::journal
