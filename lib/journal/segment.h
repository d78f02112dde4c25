// One open segment: its file, its settle file, and what is known of them. A plain record of parts; each part names its
// owner and its lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/interval_set.h"
#include "journal/settle_file.h"

namespace sluice::journal {

// What committer and feeder share. Guarded by SegmentTable::mutex(). The committer alone changes `end`, `events`,
// `scanned`, `finished`, `absent` and `withheld`, and reads those without the lock.
struct FeedState {
  std::uint64_t end = kFirstCommit;  // the feeder may read what lies before it
  std::uint64_t events = 0;          // that count, broken ones included
  std::uint64_t unfed = 0;           // of those, still to be read by the feeder
  std::uint64_t lost = 0;            // of those, broken; known once the feeder has read all
  bool damaged = false;              // has a hole: it is set aside when finished, not deleted
  bool scanned = false;              // at the start, so its holes are reported already
  IntervalSet finished;              // settled
  IntervalSet absent;                // records that do not count: request not whole, or moved to another segment
  IntervalSet skip;                  // not to be fed: finished by an earlier run, moved, not whole, or fed already
  IntervalSet withheld;              // not to be fed yet: a power cut could still take them (tails.h)

  [[nodiscard]] std::uint64_t unfinished() const { return events - std::min(events, finished.size()); }
  [[nodiscard]] bool is_finished() const { return finished.size() + lost >= events; }
};

// The extent of its file. The committer's thread alone.
struct Written {
  std::uint64_t acknowledged_end = kFirstCommit;
  std::uint64_t synced = kFirstCommit;  // everything before it is
  std::uint64_t recorded = 0;           // events before acknowledged_end, moved ones included
  std::uint64_t synced_events = 0;      // of those: before synced
  std::uint64_t synced_last = 0;        // of those: the last one's sequence
  std::uint64_t first_sequence = 0, last_sequence = 0, commits = 0;
  std::uint64_t size = 0;       // of the file, preallocated room included
  std::uint64_t made_size = 0;  // what `size` was when the file was made; 0: not known
  std::uint64_t fresh = 0;      // from here on the file was never written to, as far as is known
  std::vector<std::byte> tail;  // the synced bytes of its last block, if that block has a copy on the disk
  std::uint64_t tails = 0;      // copies that were begun: they take turns
  bool tail_needed = false;     // the copy may be the only intact one
  bool sealed = false;          // ends in a footer
};

// How a segment that an earlier run left without a footer may be sealed (tails.h). The committer's thread alone.
struct Unsealed {
  std::uint64_t seal_at = 0;              // everything before is whole and synced; 0: it may not be sealed
  bool has_copies = false;                // of its last block, at the end of the file
  bool whole = false;                     // so is everything behind seal_at, though it is not synced
  std::uint64_t events = 0, commits = 0;  // behind seal_at
};

struct Segment {
  Segment(std::uint64_t its_number, const Header& its_header) : number(its_number), header(its_header) {}

  const std::uint64_t number;
  Header header;                        // constant once the segment is in the table
  std::unique_ptr<DiskFile> file;       // open for as long as the segment lives: it is read even after an unlink
  std::atomic<bool> unreadable{false};  // in part: readers read around that. Never returns to false

  FeedState feed;

  // The committer's thread alone.
  Written written;
  SettleFile settles;
  Unsealed unsealed;
  std::uint64_t charged = 0;    // of --journal-bytes, by Budget
  std::uint64_t not_worth = 0;  // so many unfinished events cannot be copied forward, or would free nothing
  bool is_home = true;          // blocks in memory may name it; false: made by Compaction, and not fed in this run

  [[nodiscard]] std::uint64_t disk_bytes() const noexcept { return written.size + settles.size(); }
  // Bytes of commits.
  [[nodiscard]] std::uint64_t content() const noexcept { return written.acknowledged_end - kFirstCommit; }
};

// Owners: the table, the order of feeding, and whoever reads the segment at the moment; the last of them closes it.
using SegmentPtr = std::shared_ptr<Segment>;

// The order in which a start feeds them, older ones first. By their first event: under Ack::queued a segment's header
// is older than many events that never came to it.
[[nodiscard]] inline auto turn_of(const Segment& segment) {
  return std::tuple(segment.header.ordinal, segment.written.first_sequence, segment.number);
}

}  // namespace sluice::journal
