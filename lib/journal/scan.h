// What is in a segment, found by reading all of it: which events count, which are broken, and where. For segments that
// were not sealed, those that are damaged, and whoever looks from outside. Any thread; changes nothing.
#pragma once

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

// Bytes that are no record.
struct Hole {
  std::uint64_t offset = 0, size = 0;
  bool torn = false;  // behind what was synced: a power cut's doing, or a crash's. Otherwise the disk's: damage

  friend bool operator==(const Hole&, const Hole&) = default;
};

struct Scan {
  std::uint64_t end = kFirstCommit;     // behind the last record that counts
  std::uint64_t synced = kFirstCommit;  // what lies before it was synced once
  std::uint64_t events = 0;             // that count, broken ones included
  std::uint64_t broken = 0;             // of those
  std::uint64_t synced_events = 0;      // that stand before `synced`, broken ones included
  std::uint64_t synced_last = 0;        // the last one's sequence, or 0
  std::uint64_t commits = 0;
  std::uint64_t first_sequence = 0, last_sequence = 0;
  IntervalSet present;           // intact events that count
  IntervalSet absent;            // intact ones that do not: their request is not whole, and was never acknowledged
  IntervalSet tail;              // those of `present` that lie behind what was synced
  std::optional<Footer> footer;  // sealed
  std::vector<Hole> holes;
  std::error_code error;  // the disk would not be read

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
};

[[nodiscard]] Scan scan(DiskFile& file, const Header& header, const ScanLimits& limits);

// The header of a segment, from whichever of its two places has one. Nothing if neither fits. If both do and differ,
// somebody else's was written over one of them: the records tell which; a newer version has the last word.
struct FoundHeader {
  std::optional<Header> header;
  std::optional<std::uint64_t> broken_at;  // the other one, if it does not say the same
  // Its making was cut short, or nobody has used it yet: no byte of a commit is there, and there is room for one, or no
  // byte of a header either.
  bool bare = false;
  std::error_code error;
};
[[nodiscard]] FoundHeader read_header(DiskFile& file, std::uint64_t size);

// The footer at the very end of a file of this size.
[[nodiscard]] std::optional<Footer> read_footer(DiskFile& file, const Header& header, std::uint64_t size);

// The ranges in a settled file; `end` is where the next record may be written. All holes count as torn: a power cut
// leaves them as well as a bad disk, and either way it costs a redelivery.
struct Settled {
  IntervalSet set;
  std::uint64_t end = 0;
  std::vector<Hole> holes;
  std::error_code error;
};
[[nodiscard]] Settled read_settled(DiskFile& file, std::uint64_t segment_seed, std::uint64_t size);

}  // namespace sluice::journal
