// One segment of the journal, open: its two files and what is known of them. A plain record; who may touch which
// member is said beside it, the journal sees to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/interval_set.h"

namespace sluice::journal {

inline constexpr std::uint64_t kSettledStep = std::uint64_t{16} << 10U;  // a settled file grows by this

struct Segment {
  Segment(std::uint64_t its_number, const Header& its_header) : number(its_number), header(its_header) {}

  const std::uint64_t number;
  Header header;                   // constant once the segment is in the journal's table
  std::unique_ptr<DiskFile> file;  // open for as long as it lives: it is read by this, not by its name
  // The committer's; none while it cannot be made. Owners: the segment, and who syncs it at the moment.
  std::shared_ptr<DiskFile> settled;

  // Written by the committer under the journal's mutex, read by the feeder under it.
  std::uint64_t end = kFirstCommit;  // behind what may be read to be fed
  std::uint64_t events = 0;          // that count, broken ones included
  std::uint64_t unfed = 0;           // of those, still to be brought by the feeder
  std::uint64_t lost = 0;            // broken; known once the feeder is through
  bool damaged = false;              // set by whoever reads a hole, under the mutex
  bool scanned = false;              // at the start: its holes are known and reported
  IntervalSet finished;              // settled
  IntervalSet absent;                // records that do not count: their request is not whole, or they count elsewhere
  IntervalSet skip;                  // not to be fed: finished by an earlier run, moved, not whole, fed already
  IntervalSet withheld;              // not to be fed yet: a power cut could still take them (tails.cc)

  std::atomic<bool> unreadable{false};  // in part: who reads it reads around that. Never returns to false

  // The committer's alone.
  std::uint64_t acknowledged_end = kFirstCommit;
  std::uint64_t synced = kFirstCommit;  // everything before it is
  std::uint64_t recorded = 0;           // events before acknowledged_end, those that count elsewhere included
  std::uint64_t synced_events = 0;      // of those: before synced
  std::uint64_t synced_last = 0;        // of those: the last one's sequence
  std::uint64_t size = 0;               // of the file, preallocated room included
  std::uint64_t made_size = 0;          // what that was when it was made; 0: not known
  std::uint64_t fresh = 0;              // from here on it was never written to, as far as is known
  std::uint64_t settled_end = 0;        // where the next settles are written
  std::uint64_t settled_size = 0;       // likewise preallocated
  std::uint64_t first_sequence = 0, last_sequence = 0, commits = 0;
  std::uint64_t charged = 0;    // of --journal-bytes
  std::vector<std::byte> tail;  // what was synced of its last block, if that has a copy on the disk
  std::uint64_t tails = 0;      // copies that were begun: they take turns
  bool tail_needed = false;     // the copy may be all that has it
  std::uint64_t not_worth = 0;  // so many unfinished events cannot be copied forward, or nothing is won by it
  // Of one that an earlier run has left unsealed: it may be sealed here, since all before is whole and synced. 0:
  // nowhere.
  std::uint64_t seal_at = 0;
  bool has_tails = false;
  bool whole_tail = false;                          // so is what stands behind that, but for the sync
  std::uint64_t tail_events = 0, tail_commits = 0;  // that stand there
  IntervalSet unwritten;                            // finished, and not in the settled file yet
  bool settled_dirty = false;                       // written and not synced
  bool sealed = false;                              // ends in a footer
  bool is_home = true;          // blocks in memory may name it; false: copied forward, and fed by no one in this run
  bool settled_failed = false;  // a write of it failed, or it was never made: it is to be written anew, whole
};

// Older ones first, in the order in which a start feeds them. By what is in them: under Ack::queued a segment's header
// is older than many an event that never came to it.
[[nodiscard]] inline auto turn_of(const Segment& segment) {
  return std::tuple(segment.header.ordinal, segment.first_sequence, segment.number);
}

}  // namespace sluice::journal
