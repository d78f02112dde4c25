// Settling: recording that events are finished: in memory from settle() on, in the settle files after write(), durably
// after a sync. The committer's thread, but for sync_file(), which the settler may call.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

#include "journal/config.h"
#include "journal/rewriter.h"
#include "journal/segment_table.h"

namespace sluice::journal {

// A settle file that is to be synced, and how that went.
struct SettleSync {
  SegmentPtr segment;
  std::shared_ptr<DiskFile> file;
  std::error_code error;
};

class Settles {
 public:
  Settles(const Context& context, SegmentTable& table, Rewriter& rewriter)
      : context_(context), table_(table), rewriter_(rewriter) {}
  Settles(const Settles&) = delete;
  Settles& operator=(const Settles&) = delete;

  void settle(std::uint64_t segment, std::uint64_t first, std::uint64_t count);
  // Of a segment of an earlier run: what its settle file lacks, or has not synced.
  void adopted(const Segment& segment);
  [[nodiscard]] bool has_unwritten() const noexcept { return unwritten_; }
  [[nodiscard]] std::error_code write();
  // Writes and syncs.
  [[nodiscard]] std::error_code sync();

  // sync() in three steps, so that no commit waits for it: begin_sync() writes, and names the files to sync; any thread
  // calls sync_file() for each; end_sync() counts them as synced, or has them made anew. In between nothing is copied
  // forward: a finished event whose settle is not on disk must not be left behind.
  [[nodiscard]] std::error_code begin_sync(std::vector<SettleSync>& dirty);
  static void sync_file(SettleSync& one);
  [[nodiscard]] std::error_code end_sync(std::span<const SettleSync> synced);
  [[nodiscard]] bool syncing() const noexcept { return syncing_; }

 private:
  const Context& context_;
  SegmentTable& table_;
  Rewriter& rewriter_;
  bool unwritten_ = false;  // some segment has settles that are not in its file
  bool dirty_ = false;      // some file has settles that are not synced
  bool syncing_ = false;    // between begin_sync() and end_sync()
};

}  // namespace sluice::journal
