// One connection a request, so that each finds the daemon as it is.
#include "support/producer.h"

#include <algorithm>
#include <stdexcept>

#include "support/lives.h"

namespace test {

Producer::Producer(const Daemon& daemon, std::size_t request, std::size_t padding, std::size_t most)
    : address_(daemon.address()), request_(request), padding_(padding) {
  told_.of.assign(most, Fate::unsent);
}

Answer Producer::post_one() {
  if (next_ + request_ > told_.of.size()) throw std::runtime_error("the producer has sent all it has");
  Answer answer = ask_once(address_, batch(next_, request_, padding_));
  const Fate fate = answer.status == 202                         ? Fate::acknowledged
                    : answer.status == 500 || answer.status == 0 ? Fate::unknown
                                                                 : Fate::refused;
  std::fill_n(told_.of.begin() + static_cast<std::ptrdiff_t>(next_), request_, fate);
  next_ += request_;
  told_.acknowledged += fate == Fate::acknowledged ? request_ : 0;
  told_.unknown += fate == Fate::unknown ? request_ : 0;
  told_.refused += fate == Fate::refused ? request_ : 0;
  ++told_.answers[answer.status];
  return answer;
}

Answer Producer::post_one_to(const Daemon& daemon) {
  address_ = daemon.address();
  return post_one();
}

Answer Producer::post_until(int status, milliseconds limit) {
  const auto until = Clock::now() + limit;
  for (;;) {
    Answer answer = post_one();
    if (answer.status == status || Clock::now() > until) return answer;
  }
}

}  // namespace test
