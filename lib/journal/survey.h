// What lies in a journal's directory, and which of it counts: the one judgement that a start and a look from outside
// share, so that both say the same of a journal. One thread; it only reads. It refuses, by StartError (io), what the
// disk will not read, and a file that goes while it is looked at (Gone).
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

// A file that was listed is not there any more: somebody works on the journal.
struct Gone : StartError {
  using StartError::StartError;
};

struct Surveyed {
  enum class Is : std::uint8_t {
    segment,
    newer,       // of another version of the format: nothing else is known
    unmade,      // its making was cut short, nothing in it was ever acknowledged: both its files are zeros
    unreadable,  // no header fits, nor its copy: what it held, nobody knows; it stands for one lost event at least
    duplicate,   // of another segment, byte for byte or in part; nothing in it counts
  };

  std::uint64_t number = 0;
  Is is = Is::segment;
  std::unique_ptr<DiskFile> file;  // its tail as its copies have it
  std::uint64_t size = 0;
  std::uint64_t tail_room = 0;  // of that, where such copies are
  FoundHeader found;
  std::unique_ptr<DiskFile> settled_file;  // none: there was none
  std::uint64_t settled_size = 0;
  Settled settled;
  IntervalSet inherited;  // of these: they stand in a duplicate's file alone

  // Of a duplicate.
  std::uint64_t original = 0;
  bool mutilated = false;  // it also holds what the original does not: one lost event at least

  // Of a segment.
  std::optional<Footer> footer;  // at the very end of the file
  bool scanned = false;          // if not, the footer is all that is known
  Scan scan;
  IntervalSet superseded;    // stand in copies of a higher number, or were finished there
  IntervalSet absent;        // these, and those of requests that are not whole
  IntervalSet finished;      // settled, of those that count here; also if they are broken by now
  std::uint64_t events = 0;  // that count here, broken ones included
  bool damaged = false;      // as far as it was read

  [[nodiscard]] const Header& header() const { return *found.header; }
  [[nodiscard]] bool copies() const { return found.header->kind == SegmentKind::copies; }
};

struct Survey {
  std::vector<Surveyed> segments;        // by number
  std::vector<std::uint64_t> set_aside;  // likewise
  std::vector<std::uint64_t> settled;    // numbers of all settled files
  std::vector<std::string> drafts;       // that nobody finished
};

enum class Look : std::uint8_t {
  quick,     // scans only what tells too little of itself: a segment without a footer, or of which there are copies
  thorough,  // scans everything
};

// Opens files as `how` says; to be read, where `write` is refused. If anything is of another version, nothing else is
// judged.
[[nodiscard]] Survey survey(Disk& disk, Disk::Open how, Look look);

}  // namespace sluice::journal
