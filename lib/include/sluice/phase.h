// The life of anything that stops gracefully, as one table: every phase answers every signal, "ignore" written out.
// Pure values; who drives it guards it. The tracker and sluiced's main loop both go by it.
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/api.h"

namespace sluice {

enum class Phase : std::uint8_t {
  starting,  // not ready yet
  running,   // takes events
  closing,   // takes no new requests, finishes those in hand
  draining,  // the door is closed; workers finish what was taken
  expired,   // the deadline has passed; what is left is counted
  stopped,   // the report is final
};

enum class Happening : std::uint8_t {
  ready,        // start-up is complete
  term,         // the first wish to stop (SIGTERM, SIGINT, shutdown())
  second_term,  // a further one: hurry
  hup,          // files are to be opened anew
  door_closed,  // requests in hand are answered, or their time is over
  drained,      // no ticket is out
  deadline,     // waiting ends
  fault,        // it cannot go on
  reported,     // the account is given
};

enum class Response : std::uint8_t {
  ignore,
  serve,         // begin to take events
  close_intake,  // begin the stop
  hasten,        // move the deadline forward
  reopen,        // sinks look at their files before the next batch
  close_door,    // from here nobody gets a ticket
  close_queue,   // wake the workers: there is nothing more
  count_kept,    // stop waiting, ask the workers to stop, count
  leave,         // exit with the code that says how it went
};

struct Step {
  Phase next;
  Response response;
};

// What phase `now` does when `what` happens. Total: every pair has an answer.
[[nodiscard]] SLUICE_API Step step(Phase now, Happening what) noexcept;

[[nodiscard]] SLUICE_API std::string_view to_string(Phase phase) noexcept;

}  // namespace sluice
