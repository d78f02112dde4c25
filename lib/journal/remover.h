// Removes segments of which every event is finished, and sets aside damaged ones instead. The committer's thread, or
// the thread that starts. A segment stays, with its settles and its charge, for as long as its name cannot be removed
// for good, or other segments depend on it.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/rewriter.h"
#include "journal/segment_table.h"

namespace sluice::journal {

class Remover {
 public:
  Remover(const Context& context, Budget& budget, SegmentTable& table, Cursor& cursor, Rewriter& rewriter)
      : context_(context), budget_(budget), table_(table), cursor_(cursor), rewriter_(rewriter) {}
  Remover(const Remover&) = delete;
  Remover& operator=(const Remover&) = delete;

  // True if any is removed.
  bool remove_finished();

 private:
  // What could come back to life without others, collected once for all of them.
  struct Dependants {
    std::unordered_set<std::uint64_t> unsealed;  // seeds of segments
    std::vector<const Segment*> moved_from;      // some of their events count elsewhere
  };
  [[nodiscard]] Dependants find_dependants() const;
  [[nodiscard]] static bool is_needed(const Segment& segment, const Dependants& dependants);
  [[nodiscard]] std::vector<SegmentPtr> find_finished();
  [[nodiscard]] bool remove_name(const Segment& segment);
  [[nodiscard]] bool remove(const std::vector<SegmentPtr>& finished);

  const Context& context_;
  Budget& budget_;
  SegmentTable& table_;
  Cursor& cursor_;
  Rewriter& rewriter_;
};

}  // namespace sluice::journal
