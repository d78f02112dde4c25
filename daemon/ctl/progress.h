// The progress of a long command, as text: on a terminal a bar that is redrawn ten times a second, elsewhere a plain
// line every ten seconds, so that a short command leaves nothing in a log. One thread. Returns the text and writes
// nothing; the caller has the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sluicectl {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `whole`: how much there is to do, in any unit; 0: unknown.
  Progress(bool terminal, std::uint64_t whole, Clock::time_point began)
      : terminal_(terminal), whole_(whole), began_(began), shown_(began) {}

  // The text to write to standard error now, maybe none. `events`: accepted so far. `last`: the final call.
  [[nodiscard]] std::string show(std::uint64_t done, std::uint64_t events, bool last, Clock::time_point now);
  // The text to write before another line of the command.
  [[nodiscard]] std::string make_way() const { return terminal_ ? "\r\033[K" : ""; }

 private:
  const bool terminal_;
  const std::uint64_t whole_;
  const Clock::time_point began_;
  Clock::time_point shown_;  // when something was written last
  bool is_drawn_ = false;    // a bar
};

}  // namespace sluicectl
