// The ends of segments that earlier runs left without a footer. The committer's thread, or the thread that starts.
//
// Events behind the offset that was synced last are rewritten and synced before anybody sees them: the kernel may hold
// pages that no disk has, and half of a request that was delivered must not vanish in the next power cut. They are
// copied into a segment of their own, which takes room of the disk and of the limit. If the limit is in the way, this
// waits until deliveries make room. If the disk is full, or nothing else is left to deliver, they are rewritten in
// place: that takes no room, but a write that fails there may destroy the only copy. Until then they are withheld: they
// count as taken over and as kept, they are not delivered, and recover() tries again. Everything else that can be read
// is delivered meanwhile; so a request is never delivered in part, nor in two versions.
//
// Then the segment is sealed and cut to its contents: short runs must not leave the room of a full segment each.
#pragma once

#include <system_error>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/health.h"
#include "journal/remover.h"
#include "journal/rewriter.h"

namespace sluice::journal {

struct Surveyed;

class Tails {
 public:
  Tails(const Context& context, Budget& budget, SegmentTable& table, Cursor& cursor, Health& health, Rewriter& rewriter,
        Remover& remover)
      : context_(context),
        budget_(budget),
        table_(table),
        cursor_(cursor),
        health_(health),
        rewriter_(rewriter),
        remover_(remover) {}
  Tails(const Tails&) = delete;
  Tails& operator=(const Tails&) = delete;

  // The events of `tail` are withheld, but for finished ones. Of a segment that is not in the table yet.
  static void withhold(Segment& segment, const IntervalSet& tail);
  // Fills in Segment::unsealed.
  static void plan_seal(Segment& segment, const Surveyed& found);

  // Secures everything that is withheld, and lets it be fed. On an error some of it stays withheld, and the journal has
  // failed.
  [[nodiscard]] std::error_code secure();
  // Best effort: a segment that cannot be sealed is charged for all that it takes of the disk.
  void seal_all();

 private:
  [[nodiscard]] std::error_code copy(const SegmentPtr& from);
  [[nodiscard]] std::error_code rewrite(const SegmentPtr& from);
  [[nodiscard]] static std::error_code write_again(Segment& from, DiskFile& file);
  void is_gone(Segment& segment, const IntervalSet& gone);
  [[nodiscard]] std::error_code seal(Segment& segment);
  [[nodiscard]] static std::error_code write_footer(Segment& segment, const Footer& footer);
  void cut_off(Segment& segment, std::uint64_t end);

  const Context& context_;
  Budget& budget_;
  SegmentTable& table_;
  Cursor& cursor_;
  Health& health_;
  Rewriter& rewriter_;
  Remover& remover_;
};

}  // namespace sluice::journal
