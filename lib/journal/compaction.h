// Gives room back: removes finished segments, and, if a producer was refused for want of room, copies the few
// unfinished events of the oldest segments into a new one, so that those can be removed as well. The committer's
// thread. A failure is tried again after a growing wait.
#pragma once

#include <chrono>
#include <cstdint>
#include <system_error>
#include <vector>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/health.h"
#include "journal/remover.h"
#include "journal/rewriter.h"
#include "journal/settles.h"

namespace sluice::journal {

class Compaction {
 public:
  Compaction(const Context& context, Budget& budget, SegmentTable& table, Cursor& cursor, Health& health,
             Rewriter& rewriter, Settles& settles, Remover& remover)
      : context_(context),
        budget_(budget),
        table_(table),
        cursor_(cursor),
        health_(health),
        rewriter_(rewriter),
        settles_(settles),
        remover_(remover) {}
  Compaction(const Compaction&) = delete;
  Compaction& operator=(const Compaction&) = delete;

  void run();

 private:
  // A segment that few events keep.
  struct Held {
    SegmentPtr segment;
    std::uint64_t left = 0;  // unfinished events
    IntervalSet moved;
  };
  [[nodiscard]] std::vector<Held> find_held() const;
  [[nodiscard]] std::error_code measure(std::vector<Held>& held, Extent& extent);
  [[nodiscard]] std::error_code copy_forward(bool& copied);

  const Context& context_;
  Budget& budget_;
  SegmentTable& table_;
  Cursor& cursor_;
  Health& health_;
  Rewriter& rewriter_;
  Settles& settles_;
  Remover& remover_;
  std::chrono::steady_clock::time_point copy_due_{};  // nothing is copied before
  std::chrono::milliseconds copy_backoff_{0};
};

}  // namespace sluice::journal
