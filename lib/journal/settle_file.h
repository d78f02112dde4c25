// The settle file of one segment: which of its events are finished. Its segment owns it; the committer's thread alone
// uses it, but the settler syncs the DiskFile that take_dirty() gave out, which therefore has two owners.
// A file whose write or sync failed is not appended to again: write() makes a new one and renames it over the old one.
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/interval_set.h"

namespace sluice::journal {

inline constexpr std::uint64_t kSettledStep = std::uint64_t{16} << 10U;  // a settle file grows by this

struct Segment;
struct Settled;

class SettleFile {
 public:
  SettleFile() = default;
  SettleFile(const SettleFile&) = delete;
  SettleFile& operator=(const SettleFile&) = delete;

  // Makes the file of a new segment, with room for so many events.
  [[nodiscard]] std::error_code create(Disk& disk, std::uint64_t segment, std::uint64_t events);
  // The third copy of the segment's header, at the beginning of the file.
  [[nodiscard]] std::error_code write_header(const Segment& of);
  [[nodiscard]] std::error_code sync() { return file_->sync(); }
  // Takes over the file of an earlier run; makes one if `file` is null. `inherited`: finished, and not in this file.
  void adopt(Disk& disk, std::uint64_t segment, std::unique_ptr<DiskFile> file, const Settled& found,
             std::uint64_t size, IntervalSet inherited);

  // Preallocates for so many events, all that the segment has.
  [[nodiscard]] std::error_code reserve(std::uint64_t events);

  // These events are finished. In memory until write() succeeds, on disk for good after a sync.
  void add(std::uint64_t first, std::uint64_t count) { unwritten_.add(first, count); }
  void remove(const IntervalSet& gone) { unwritten_ = unwritten_.without(gone); }
  [[nodiscard]] bool has_unwritten() const noexcept { return !unwritten_.empty(); }
  [[nodiscard]] std::error_code write(Disk& disk, const Segment& of);

  [[nodiscard]] bool dirty() const noexcept { return dirty_; }
  // The file to sync, if something was written since the last call; else null.
  [[nodiscard]] std::shared_ptr<DiskFile> take_dirty();
  // That sync failed. False: the file was replaced meanwhile, so nothing is to be done.
  [[nodiscard]] bool sync_failed(const std::shared_ptr<DiskFile>& file, const IntervalSet& finished);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  [[nodiscard]] static std::error_code write_header(DiskFile& file, const Segment& of);
  [[nodiscard]] static std::error_code write_ranges(DiskFile& file, const IntervalSet& set, std::uint64_t segment_seed,
                                                    std::uint64_t& end);
  [[nodiscard]] std::error_code rewrite(Disk& disk, const Segment& of);

  std::shared_ptr<DiskFile> file_;  // null while it cannot be made
  std::uint64_t end_ = 0;           // where the next record is written
  std::uint64_t size_ = 0;          // preallocated
  IntervalSet unwritten_;           // finished, and not in the file yet
  bool dirty_ = false;              // written since the last sync
  bool failed_ = false;             // a write or sync failed, or it was never made
};

}  // namespace sluice::journal
