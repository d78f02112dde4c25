// A second copy of what was synced in the last block of a segment. Small commits share a block, so each rewrites what
// an earlier one has acknowledged, and a write or a sync that fails may destroy it. Two places at the end of the
// segment take turns: a commit writes its copy to one of them while the other, synced with the commit before, holds
// what the block held until then. format.h has the layout. A segment that was sealed has none: its file is cut off
// before them.
//
// TailedFile is a segment's file seen through such copies. Any thread reads; set() may come from another.
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

// Bytes of a segment that stand elsewhere, too.
struct TailCopy {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

class TailedFile final : public DiskFile {
 public:
  explicit TailedFile(std::unique_ptr<DiskFile> file) : file_(std::move(file)) {}

  // From here these bytes are read, whatever the disk has there by now.
  void set(TailCopy copy);
  // Writes them where they belong, up to this offset, so that their copies can go once that is synced.
  [[nodiscard]] std::error_code write_back(std::uint64_t end);
  // Synced: the file is read as it is again, here and, where it cannot be cut, by the next start. `size`: of the file.
  [[nodiscard]] std::error_code drop_copies(std::uint64_t size);

  [[nodiscard]] std::error_code write(std::uint64_t offset,
                                      std::span<const std::span<const std::byte>> pieces) override {
    return file_->write(offset, pieces);
  }
  // What cannot be read stays an error.
  [[nodiscard]] std::error_code read(std::uint64_t offset, std::span<std::byte> to, std::size_t& got) override;
  [[nodiscard]] std::error_code sync() override { return file_->sync(); }
  [[nodiscard]] std::error_code preallocate(std::uint64_t size) override { return file_->preallocate(size); }
  [[nodiscard]] std::error_code truncate(std::uint64_t size) override { return file_->truncate(size); }
  [[nodiscard]] std::error_code stat(Stat& to) override { return file_->stat(to); }

 private:
  const std::unique_ptr<DiskFile> file_;
  std::mutex mutex_;
  std::vector<TailCopy> copies_;  // guarded by mutex_; hardly ever any
};

// The copies at the end of an unsealed segment of this size, the shorter one first; none that do not fit.
[[nodiscard]] std::vector<TailCopy> read_tail_copies(DiskFile& file, std::uint64_t seed, std::uint64_t size);

// Where that begins which stands behind what was synced: in a block of its own, which may be written anew, unless zeros
// are not all that lies between, since the two share a block.
[[nodiscard]] std::error_code behind_padding(DiskFile& file, std::uint64_t synced, std::uint64_t& begin);

}  // namespace sluice::journal
