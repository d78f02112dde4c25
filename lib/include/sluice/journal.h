// A look into a journal from outside: which segments a state directory holds, whether they are whole, and which events
// nobody has finished yet. It only reads, locks nothing and works beside a running daemon, as of one moment or another.
// One thread at a time. Constructed means read, all of it once (the time of a `cat`, a little memory a segment); what
// it cannot read it refuses with StartError (io).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "sluice/api.h"
#include "sluice/event.h"

namespace sluice {

// A file of the journal.
struct JournalSegment {
  enum class State : std::uint8_t {
    open,       // was or is being written to
    sealed,     // complete, and says so itself
    damaged,    // bytes that were on disk once are no records any more; what is intact still counts
    newer,      // of another version of the format: nothing else is known
    set_aside,  // was damaged, its intact events are finished; nobody reads it, it may be removed
  };

  std::uint64_t number = 0;
  State state = State::open;
  bool sealed = false;  // also if it is damaged
  bool copies = false;  // of events from older segments, which count here and not there
  std::uint32_t version = 0;
  RunId run;                // whose events these are
  std::uint64_t first = 0;  // sequence of the first event and the last; 0: there is none
  std::uint64_t last = 0;
  std::uint64_t events = 0;      // that count here, those that are broken included
  std::uint64_t settled = 0;     // of those: finished
  std::uint64_t unfinished = 0;  // intact and not finished
  std::uint64_t broken = 0;      // not to be read any more
  std::uint64_t bytes = 0;       // of the file, with what is reserved at its end
};
[[nodiscard]] SLUICE_API std::string_view to_string(JournalSegment::State state) noexcept;

// Bytes in a segment that are no record.
struct JournalHole {
  std::uint64_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  bool torn = false;     // was never synced: what a crash or a power cut leaves, or a write under way. No damage
  bool settles = false;  // in its settled file: what it said was finished comes once more. Counts as torn, since there
                         // a power cut and a bad disk look alike
};

struct JournalTotals {
  std::uint64_t events = 0, settled = 0, unfinished = 0, broken = 0, bytes = 0;
};

class SLUICE_API JournalView {
 public:
  // Of STATE/journal; a state directory without one holds no segment. Throws StartError (io) if there is no such state
  // directory, or it or a file there cannot be read at all; where a part cannot be, that is a hole.
  explicit JournalView(std::filesystem::path state_dir);
  ~JournalView();
  JournalView(const JournalView&) = delete;
  JournalView& operator=(const JournalView&) = delete;

  [[nodiscard]] const std::vector<JournalSegment>& segments() const noexcept;  // by number
  [[nodiscard]] const std::vector<JournalHole>& holes() const noexcept;        // by segment and offset
  [[nodiscard]] JournalTotals totals() const noexcept;                         // without what is set aside

  // Nothing is damaged, and nothing is of a version that this program does not read.
  [[nodiscard]] bool whole() const noexcept;

  // Shows each event that was not finished when this was constructed, each run's in their order, older runs first,
  // until `visit` says false. Views are valid during the call. What a daemon has finished and removed since is left
  // out. Reads again what has any, a few segments at a time. The error names no file; nothing is shown after it.
  [[nodiscard]] std::error_code for_each_unfinished(const std::function<bool(const Delivery&)>& visit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
