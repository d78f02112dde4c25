// The intervals of the journal's background work. Plain values: the product uses these; a test that runs for
// milliseconds has its own.
#pragma once

#include <chrono>

namespace sluice::journal {

struct Pace {
  std::chrono::milliseconds settle_every{50};
  std::chrono::milliseconds sync_every{1000};  // settles, and commits that were written without a sync
  std::chrono::milliseconds look_every{200};   // for finished segments, to remove them
  // Between two attempts to recover a failed journal: doubled each time.
  std::chrono::milliseconds least_backoff{50}, most_backoff{5000};
  // After the deadline of a stop: for the last settles, and a last recovery of a failed journal. Events not settled by
  // then are delivered again.
  std::chrono::milliseconds checkpoint{30};
  std::chrono::milliseconds unreadable{1000};  // before a failed read is tried again
};

}  // namespace sluice::journal
