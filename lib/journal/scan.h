// Reads a whole segment and finds which events count, which are broken, and where. For unsealed and damaged segments,
// and for a look from outside. Any thread; it changes nothing.
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
  bool torn = false;  // behind the synced bytes: made by a power cut or a crash. Otherwise by the disk: damage

  friend bool operator==(const Hole&, const Hole&) = default;
};

struct Scan {
  std::uint64_t end = kFirstCommit;               // behind the last record that counts
  std::uint64_t synced = kFirstCommit;            // everything before it was synced
  std::uint64_t events = 0;                       // that count, broken ones included
  std::uint64_t broken = 0;                       // of those
  std::uint64_t synced_events = 0;                // that stand before `synced`, broken ones included
  std::uint64_t synced_last = 0;                  // the last one's sequence, or 0
  std::uint64_t commits = 0, synced_commits = 0;  // synced: begin before `synced`
  std::uint64_t first_sequence = 0, last_sequence = 0;
  IntervalSet present;           // intact events that count
  IntervalSet absent;            // intact events of requests that are not whole, and were never acknowledged
  IntervalSet tail;              // those of `present` behind `synced`
  std::optional<Footer> footer;  // sealed
  std::vector<Hole> holes;
  std::uint64_t unreadable = 0;  // bytes of holes of which some could not be read
  bool around = false;           // some bytes could not be read, perhaps behind the last record
  std::error_code error;         // of a read

  [[nodiscard]] bool damaged() const noexcept {
    for (const Hole& hole : holes) {
      if (!hole.torn) return true;
    }
    return false;
  }
};

struct ScanLimits {
  std::uint64_t size = 0;          // of the file
  std::uint64_t end = UINT64_MAX;  // from the successor's header; behind it nothing counts
  std::uint64_t synced = 0;        // likewise: everything before it was synced
  std::uint64_t events = 0;        // likewise: the number of events before `synced`
  std::uint64_t last = 0;          // likewise: the last one's sequence
  std::uint64_t made_size = 0;     // the file's size when it was made; 0: not known
  std::uint64_t tail_room = 0;     // at its end, with copies of its last block
  bool headless = false;           // both headers are destroyed: the first commit may be, too
};

// Reads around a read error after a few tries.
[[nodiscard]] Scan scan(DiskFile& file, const Header& header, const ScanLimits& limits);

// The header of a segment, from any of its three places: two in its file, and `copy`, at the beginning of its settle
// file. Nothing if none fits. If they differ, another segment's was written over one of them: the records decide which,
// then the majority. Another version wins over both, also if both headers in the file name it and do not fit.
struct FoundHeader {
  std::optional<Header> header;
  std::vector<std::uint64_t> broken;  // offsets in the file at which this header should be, and is not
  std::uint64_t made_size = 0;        // from the copy
  std::error_code error;

  [[nodiscard]] bool headless() const noexcept { return broken.size() == kHeaderPlaces.size(); }
};
[[nodiscard]] FoundHeader read_header(DiskFile& file, std::uint64_t size, const std::optional<HeaderCopy>& copy = {});
[[nodiscard]] std::optional<HeaderCopy> read_header_copy(DiskFile& settled);

// Whether the file has any record of such a segment.
[[nodiscard]] bool has_records(DiskFile& file, const Header& header, std::uint64_t size);

// Nothing was ever written to it but perhaps a header or a part of one: the rest is zeros. False if some of it cannot
// be read. An error if none of it can, so the disk is away; but not if the file is too short for an event.
[[nodiscard]] bool is_unused(DiskFile& file, std::uint64_t size, std::error_code& error);

// The footer at the very end of a file of this size.
[[nodiscard]] std::optional<Footer> read_footer(DiskFile& file, const Header& header, std::uint64_t size);

// The ranges in a settle file; `end` is the offset for the next record. All holes count as torn: a power cut leaves
// them as well as a bad disk, and either way they cost a redelivery.
struct Settled {
  IntervalSet set;
  std::uint64_t end = 0;
  std::vector<Hole> holes;
  std::uint64_t unreadable = 0;  // bytes of holes of which some could not be read; an error is no more than that
};
[[nodiscard]] Settled read_settled(DiskFile& file, std::uint64_t segment_seed, std::uint64_t size);

}  // namespace sluice::journal
