// What is in a segment, found by reading all of it: which events count, which are broken, and where. For segments that
// were not sealed, those that are damaged, and whoever looks from outside. Any thread; changes nothing.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/interval_set.h"

namespace sluice::journal {

constexpr std::array<std::uint64_t, 2> kHeaderPlaces{0, kSecondHeader};

// Bytes that are no record.
struct Hole {
  std::uint64_t offset = 0, size = 0;
  bool torn = false;  // behind what was synced: a power cut's doing, or a crash's. Otherwise the disk's: damage

  friend bool operator==(const Hole&, const Hole&) = default;
};

struct Scan {
  std::uint64_t end = kFirstCommit;               // behind the last record that counts
  std::uint64_t synced = kFirstCommit;            // what lies before it was synced once
  std::uint64_t events = 0;                       // that count, broken ones included
  std::uint64_t broken = 0;                       // of those
  std::uint64_t synced_events = 0;                // that stand before `synced`, broken ones included
  std::uint64_t synced_last = 0;                  // the last one's sequence, or 0
  std::uint64_t commits = 0, synced_commits = 0;  // synced: begin before `synced`
  std::uint64_t first_sequence = 0, last_sequence = 0;
  IntervalSet present;           // intact events that count
  IntervalSet absent;            // intact ones that do not: their request is not whole, and was never acknowledged
  IntervalSet tail;              // those of `present` that lie behind what was synced
  std::optional<Footer> footer;  // sealed
  std::vector<Hole> holes;
  std::uint64_t unreadable = 0;  // bytes of holes that the disk would not read a part of; all others were read
  bool around = false;           // what cannot be read: something of it, be it behind the end of all records
  std::error_code error;         // the disk would not be read

  [[nodiscard]] bool damaged() const noexcept {
    for (const Hole& hole : holes) {
      if (!hole.torn) return true;
    }
    return false;
  }
};

struct ScanLimits {
  std::uint64_t size = 0;          // of the file
  std::uint64_t end = UINT64_MAX;  // as the successor's header has it; behind it nothing counts
  std::uint64_t synced = 0;        // likewise: was synced before here
  std::uint64_t events = 0;        // likewise: so many stand before `synced`
  std::uint64_t last = 0;          // likewise: the last one's sequence
  std::uint64_t made_size = 0;     // what the file's size was when it was made; 0: not known
  std::uint64_t tail_room = 0;     // at its end, where copies of its tail are
  bool headless = false;           // no header is left at its begin: the first commit may have shared their fate
};

// Reads around what cannot be read after a few tries.
[[nodiscard]] Scan scan(DiskFile& file, const Header& header, const ScanLimits& limits);

// The header of a segment, from whichever of its places has one: two in its file, and `copy`, what its settled file
// begins with. Nothing if none fits. If they differ, somebody else's was written over one of them: the records tell
// which, then what most of them say; another version has the last word, also where both copies in the file name it and
// do not fit.
struct FoundHeader {
  std::optional<Header> header;
  std::vector<std::uint64_t> broken;  // where in the file one should be that says the same
  std::uint64_t made_size = 0;        // as the copy has it
  std::error_code error;

  [[nodiscard]] bool headless() const noexcept { return broken.size() == kHeaderPlaces.size(); }
};
[[nodiscard]] FoundHeader read_header(DiskFile& file, std::uint64_t size, const std::optional<HeaderCopy>& copy = {});
[[nodiscard]] std::optional<HeaderCopy> read_header_copy(DiskFile& settled);

// Whether any record of such a segment is there.
[[nodiscard]] bool has_records(DiskFile& file, const Header& header, std::uint64_t size);

// Nothing was ever written to it, except perhaps a header or a part of one: the rest is zeros. False if some of it
// cannot be read. An error if none of it can: then the disk is away. (But not if the file is too short for an event.)
[[nodiscard]] bool is_unused(DiskFile& file, std::uint64_t size, std::error_code& error);

// The footer at the very end of a file of this size.
[[nodiscard]] std::optional<Footer> read_footer(DiskFile& file, const Header& header, std::uint64_t size);

// The ranges in a settled file; `end` is where the next record may be written. All holes count as torn: a power cut
// leaves them as well as a bad disk, and either way it costs a redelivery.
struct Settled {
  IntervalSet set;
  std::uint64_t end = 0;
  std::vector<Hole> holes;
  std::uint64_t unreadable = 0;  // bytes of holes that the disk would not read a part of; an error is no more than that
};
[[nodiscard]] Settled read_settled(DiskFile& file, std::uint64_t segment_seed, std::uint64_t size);

}  // namespace sluice::journal
