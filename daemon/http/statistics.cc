// Counts, and adds what one thread has counted to the server's Counters. Threads: see the header.
#include "http/statistics.h"

#include <algorithm>

namespace sluiced::http {

void Statistics::count_answer(int status) noexcept {
  add(answered_[std::min(static_cast<std::size_t>(status), answered_.size() - 1)], std::uint64_t{1});
}

void Statistics::count_refusal(Refused why) noexcept { add(refused_[static_cast<std::size_t>(why)], std::uint64_t{1}); }

void Statistics::change_owed(const Owed& before, const Owed& now) noexcept {
  add(owed_, std::size_t{now.answers} - before.answers);  // unsigned: a difference below 0 wraps, and so does the sum
  add(with_committer_, std::size_t{now.with_committer} - before.with_committer);
}

void Statistics::add_to(Counters& counters) const {
  counters.answers_owed += owed();
  counters.with_committer += with_committer_.load(std::memory_order_relaxed);
  counters.wake_ups += wake_ups_.load(std::memory_order_relaxed);
  for (std::size_t status = 0; status < answered_.size(); ++status) {
    const std::uint64_t count = answered_[status].load(std::memory_order_relaxed);
    if (count != 0) counters.answered[static_cast<int>(status)] += count;
  }
  for (std::size_t why = 0; why < kRefused; ++why)
    counters.refused[why] += refused_[why].load(std::memory_order_relaxed);
}

}  // namespace sluiced::http
