// How often the journal's threads do what nobody waits for. Plain values: the product has these, a test that lives for
// milliseconds has its own.
#pragma once

#include <chrono>

namespace sluice::journal {

struct Pace {
  std::chrono::milliseconds settle_every{50};
  std::chrono::milliseconds sync_every{1000};  // settles, and what was only written
  std::chrono::milliseconds look_every{200};   // for what is finished, to remove it and give its room back
  // Between two attempts to get a failed journal going again: doubled from one to the other.
  std::chrono::milliseconds least_backoff{50}, most_backoff{5000};
  // After the deadline of a stop: for the last settles, and a last recovery of a failed journal. Events not settled by
  // then are delivered again.
  std::chrono::milliseconds checkpoint{30};
  std::chrono::milliseconds unreadable{1000};  // before a disk that would not be read is asked again
};

}  // namespace sluice::journal
