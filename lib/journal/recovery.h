// What a start does: takes over the segments that earlier runs left, as the survey judges them. The thread that
// constructs the journal; or the committer's, in recover(), if the disk could not be read at the start.
// It refuses a journal that another process holds, and one of another version, before anything is changed (StartError).
// An event that is delivered while the disk takes no settles comes once more at the next start.
#pragma once

#include <cstdint>
#include <system_error>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/health.h"
#include "journal/segment_maker.h"
#include "journal/settles.h"
#include "journal/tails.h"

namespace sluice::journal {

struct Survey;
struct Surveyed;

class Recovery {
 public:
  Recovery(const Context& context, Budget& budget, SegmentTable& table, Cursor& cursor, Health& health,
           SegmentMaker& maker, Settles& settles, Tails& tails)
      : context_(context),
        budget_(budget),
        table_(table),
        cursor_(cursor),
        health_(health),
        maker_(maker),
        settles_(settles),
        tails_(tails) {}
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  // An error: of the disk that took no copy of a tail, and everything is taken over. A StartError (io): nothing is
  // known.
  [[nodiscard]] std::error_code take_over();
  // The same, but a StartError fails the journal.
  [[nodiscard]] std::error_code take_over_late();

  // Events that were taken over, broken ones included.
  [[nodiscard]] std::uint64_t replayed() const noexcept { return replayed_; }

 private:
  void hold() const;
  void refuse_other_versions(const Survey& found) const;
  [[nodiscard]] std::uint64_t clear_away(const Survey& found);
  [[nodiscard]] bool set_aside(const Surveyed& one);
  void report(const Surveyed& one) const;
  [[nodiscard]] SegmentPtr adopt(Surveyed& one);
  static void adopt_extent(Segment& segment, const Surveyed& one);

  const Context& context_;
  Budget& budget_;
  SegmentTable& table_;
  Cursor& cursor_;
  Health& health_;
  SegmentMaker& maker_;
  Settles& settles_;
  Tails& tails_;
  std::uint64_t replayed_ = 0;
};

}  // namespace sluice::journal
