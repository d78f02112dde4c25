// How a journal that has failed goes on, and how events survive whose files somebody has unlinked: they are written
// anew, under their own ids, from memory or through descriptors that are still open. The committer's thread.
#pragma once

#include <cstdint>
#include <system_error>
#include <vector>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/health.h"
#include "journal/record_source.h"
#include "journal/recovery.h"
#include "journal/rewriter.h"
#include "journal/segment_writer.h"
#include "journal/settles.h"
#include "journal/tails.h"

namespace sluice::journal {

class Rescue {
 public:
  Rescue(const Context& context, SegmentTable& table, Cursor& cursor, Health& health, Rewriter& rewriter,
         Settles& settles, SegmentWriter& writer, Tails& tails, Recovery& recovery)
      : context_(context),
        table_(table),
        cursor_(cursor),
        health_(health),
        rewriter_(rewriter),
        settles_(settles),
        writer_(writer),
        tails_(tails),
        recovery_(recovery) {}
  Rescue(const Rescue&) = delete;
  Rescue& operator=(const Rescue&) = delete;

  // See Journal.
  [[nodiscard]] std::error_code recover(UnsyncedEvents& unsynced);
  [[nodiscard]] std::error_code look_for_names();
  [[nodiscard]] std::uint64_t nameless() const;

 private:
  // Segments whose file has no name any more. An error if some file could not be checked.
  [[nodiscard]] std::error_code find_removed(std::vector<SegmentPtr>& removed) const;
  [[nodiscard]] std::error_code move_unsynced(UnsyncedEvents& unsynced, const SegmentPtr& old);
  [[nodiscard]] std::error_code write_anew(const SegmentPtr& from);
  [[nodiscard]] std::error_code copy_unfinished(const SegmentPtr& from, std::uint64_t fed_to, IntervalSet& moved,
                                                IntervalSet& fed, SegmentPtr& copies);

  const Context& context_;
  SegmentTable& table_;
  Cursor& cursor_;
  Health& health_;
  Rewriter& rewriter_;
  Settles& settles_;
  SegmentWriter& writer_;
  Tails& tails_;
  Recovery& recovery_;
};

}  // namespace sluice::journal
