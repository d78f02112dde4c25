// Writes records as a segment of their own, whole, synced and sealed: events that had no record yet (spill), and copies
// of events that have to move. The committer's thread, or the thread that starts. However many events there are, one
// piece of them is in memory at a time. On an error nothing of the new segment counts.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "journal/config.h"
#include "journal/segment_maker.h"
#include "journal/segment_table.h"

namespace sluice::journal {

// How much is to be written, at most.
struct Extent {
  std::uint64_t bytes = 0, events = 0;  // bytes of records
  void add(std::uint64_t record_bytes) {
    bytes += record_bytes;
    events += 1;
  }
};

class Rewriter {
 public:
  static constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20U;  // written at once, but for a larger event

  Rewriter(const Context& context, Budget& budget, SegmentTable& table, SegmentMaker& maker)
      : context_(context), budget_(budget), table_(table), maker_(maker) {}
  Rewriter(const Rewriter&) = delete;
  Rewriter& operator=(const Rewriter&) = delete;

  // Events of one run, one by one; nothing: the end, or the error.
  using Source = std::function<std::optional<Record>(std::error_code& error)>;
  // The new segment, which is not in the table yet; null if there are no events. Copies get their name once all of them
  // are synced: half of them, beside originals that a power cut may still take, would be half of a request.
  [[nodiscard]] std::error_code write(SegmentKind kind, const RunId& run, std::uint64_t ordinal, const Extent& most,
                                      const Source& source, SegmentPtr& made);

  // Whether the limit has room for copies of so many bytes, and for what comes with them.
  [[nodiscard]] bool has_room(const Extent& copies) const;

  // Deletes what failed attempts have left. The next start would take such a segment for whole, and bring back events
  // that were settled elsewhere meanwhile: so nothing is settled for good, and no segment is removed, before this has
  // succeeded.
  [[nodiscard]] std::error_code remove_unmade();

 private:
  [[nodiscard]] std::error_code write_commits(Segment& segment, std::optional<Record> event, const Source& source,
                                              std::uint64_t& bytes);
  [[nodiscard]] static std::error_code write_own_extent(Segment& segment);
  [[nodiscard]] std::error_code complete(Segment& segment);

  const Context& context_;
  Budget& budget_;
  SegmentTable& table_;
  SegmentMaker& maker_;
  std::vector<std::string> unmade_;  // segments that could not be made whole, and may still have their names
};

}  // namespace sluice::journal
