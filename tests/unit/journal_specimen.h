// A small journal with every kind of segment in it, written by the real Journal on a disk in memory, and where each of
// its records stands: as it was written, not as anybody reads it. Then what must come of it when bytes of one file have
// changed, by the rules of format.h alone. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "journal/format.h"
#include "sluice/event.h"

namespace trial {

// As in a journal's log lines, and in JournalView.
struct Hole {
  std::uint64_t segment = 0, offset = 0, bytes = 0;
  bool torn = false, settles = false;

  friend auto operator<=>(const Hole&, const Hole&) = default;
};
[[nodiscard]] std::string to_string(const Hole& hole);

struct Record {
  enum class Kind : std::uint8_t { header, begin, event, end, footer, settles, header_copy } kind = Kind::header;
  std::uint64_t offset = 0, size = 0;  // without padding
  std::uint64_t sequence = 0;          // of an event
  std::string payload = {};
  std::size_t request = 0;                          // likewise; counted within the segment
  std::uint64_t synced = 0;                         // of begin and end
  std::vector<sluice::journal::Range> ranges = {};  // of settles
  [[nodiscard]] std::uint64_t end() const { return sluice::journal::aligned(offset + size); }
};

struct Segment {
  std::uint64_t number = 0;
  sluice::RunId run;
  bool copies = false;
  std::vector<Record> records;  // by offset, headers included
  std::vector<Record> settles;  // of its settled file, the header's copy first
  std::uint64_t made_size = 0;  // as its header's copy has it
  std::uint64_t named_by = 0;   // the segment whose header says where this one ends; 0: none
  std::uint64_t named_end = 0, named_synced = 0;

  [[nodiscard]] std::string name() const { return sluice::journal::segment_name(number); }
  [[nodiscard]] std::string settled_name() const { return sluice::journal::settled_name(number); }
};

using Files = std::map<std::string, std::string>;  // bytes by name

struct Specimen {
  Files files;
  std::vector<Segment> segments;
};
// Made once. Every kind of segment; and one whose events' payloads look like records, headers and whole segments.
[[nodiscard]] const Specimen& specimen();
[[nodiscard]] const Specimen& forgeries();

// Other bytes in one file, or an end of it that came too early.
struct Damage {
  const Specimen* of = nullptr;
  std::string file;
  std::uint64_t from = 0, to = 0;       // these were overwritten
  std::optional<std::uint64_t> length;  // the file ends here
  std::string bytes;                    // of the file, afterwards
};
[[nodiscard]] Damage flip(const Specimen& of, const std::string& file, std::uint64_t at, unsigned char bits);
[[nodiscard]] Damage cut_off(const Specimen& of, const std::string& file, std::uint64_t length);
[[nodiscard]] Damage overwrite(const Specimen& of, const std::string& file, std::uint64_t at, std::string_view with);

// RUN-SEQ
using Id = std::string;
[[nodiscard]] Id id_of(const sluice::RunId& run, std::uint64_t sequence);

struct Expected {
  std::map<Id, std::string> delivered;  // the payloads by id, each once
  std::uint64_t lost = 0;
  std::set<Hole> holes;
  std::set<std::uint64_t> set_aside;   // once all that is intact is finished
  std::set<std::uint64_t> unreadable;  // of these, at once

  friend bool operator==(const Expected&, const Expected&) = default;
};
[[nodiscard]] Expected expected_of(const Damage& damage);
[[nodiscard]] Expected expected_undamaged(const Specimen& of);

}  // namespace trial
