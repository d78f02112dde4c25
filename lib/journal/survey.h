// Reads a journal's directory and decides what counts. A start and a look from outside share it, so that both find the
// same. One thread; it only reads. It refuses, by StartError (io), a disk that cannot be read, and a file that is
// removed meanwhile (Gone).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/interval_set.h"
#include "journal/scan.h"
#include "sluice/error.h"

namespace sluice::journal {

// A listed file does not exist any more: a daemon is at work on the journal.
struct Gone : StartError {
  using StartError::StartError;
};

struct Surveyed {
  enum class Is : std::uint8_t {
    segment,
    newer,       // of another version of the format: nothing else is known of it
    unmade,      // its creation was interrupted: both its files are zeros, nothing was acknowledged
    unreadable,  // no header fits, nor the copy: its contents are unknown; it counts as one lost event at least
    duplicate,   // a full or partial copy of another segment; nothing in it counts
  };

  std::uint64_t number = 0;
  Is is = Is::segment;
  std::unique_ptr<DiskFile> file;  // with its last block as the copies have it
  std::uint64_t size = 0;
  std::uint64_t tail_room = 0;  // of that, taken by such copies
  FoundHeader found;
  std::unique_ptr<DiskFile> settled_file;  // null: there is none
  std::uint64_t settled_size = 0;
  Settled settled;
  IntervalSet inherited;  // of `settled`: those that only a duplicate's settle file has

  // Of a duplicate.
  std::uint64_t original = 0;
  bool mutilated = false;  // it has damage that the original has not: counts as one lost event at least

  // Of a segment.
  std::optional<Footer> footer;  // at the very end of the file
  bool scanned = false;          // if not, only the footer is known
  Scan scan;
  IntervalSet superseded;    // events that copies of a higher number have, or had finished
  IntervalSet absent;        // these, and events of requests that are not whole
  IntervalSet finished;      // settled events that count here, broken ones included
  std::uint64_t events = 0;  // that count here, broken ones included
  bool damaged = false;      // in what was read of it

  [[nodiscard]] const Header& header() const { return *found.header; }
  [[nodiscard]] bool copies() const { return found.header->kind == SegmentKind::copies; }
};

struct Survey {
  std::vector<Surveyed> segments;        // by number
  std::vector<std::uint64_t> set_aside;  // likewise
  std::vector<std::uint64_t> settled;    // numbers of all settle files
  std::vector<std::string> drafts;       // unfinished files
};

enum class Look : std::uint8_t {
  quick,     // scans only where the footer is not enough: a segment without one, or with copies of its events
  thorough,  // scans everything
};

// Opens files as `how` says; for reading, if `write` is refused. If any segment is of another version, nothing else is
// decided.
[[nodiscard]] Survey survey(Disk& disk, Disk::Open how, Look look);

}  // namespace sluice::journal
