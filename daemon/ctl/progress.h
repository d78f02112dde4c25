// How far a long command is, for who waits for it: on a terminal a bar that is redrawn ten times a second, elsewhere a
// plain line every ten seconds, so that a short command says nothing in a log. One thread. It writes nothing itself: it
// says what to write, and the clock is the caller's.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sluicectl {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `whole`: how much there is to do, in whatever unit; 0: nobody knows.
  Progress(bool terminal, std::uint64_t whole, Clock::time_point began)
      : terminal_(terminal), whole_(whole), began_(began), shown_(began) {}

  // What to write to standard error now, maybe nothing. `events`: that were accepted. `last`: nothing follows.
  [[nodiscard]] std::string show(std::uint64_t done, std::uint64_t events, bool last, Clock::time_point now);
  // What to write before a line of the command's own.
  [[nodiscard]] std::string make_way() const { return terminal_ ? "\r\033[K" : ""; }

 private:
  const bool terminal_;
  const std::uint64_t whole_;
  const Clock::time_point began_;
  Clock::time_point shown_;  // when something was written last
  bool is_drawn_ = false;    // a bar
};

}  // namespace sluicectl
