// The table of phases: a column a phase, a row for each thing that can happen, "ignore" written out; the compiler
// counts both.
#include "sluice/phase.h"

#include <array>
#include <cstddef>

namespace sluice {

namespace {

using Row = std::array<Response, static_cast<std::size_t>(Phase::stopped) + 1>;
using Table = std::array<Row, static_cast<std::size_t>(Happening::reported) + 1>;

// clang-format off
constexpr Table kTable = [] {
  using enum Response;
  return Table{
      //   starting      running       closing     draining     expired  stopped
      Row{{serve,        ignore,       ignore,     ignore,      ignore,  ignore}},  // ready
      Row{{close_intake, close_intake, hasten,     hasten,      ignore,  ignore}},  // term
      Row{{close_intake, close_intake, hasten,     hasten,      ignore,  ignore}},  // second_term
      Row{{reopen,       reopen,       reopen,     reopen,      reopen,  ignore}},  // hup
      Row{{ignore,       ignore,       close_door, ignore,      ignore,  ignore}},  // door_closed
      Row{{ignore,       ignore,       ignore,     close_queue, ignore,  ignore}},  // drained
      Row{{ignore,       ignore,       count_kept, count_kept,  ignore,  ignore}},  // deadline
      Row{{count_kept,   close_intake, count_kept, count_kept,  ignore,  ignore}},  // fault
      Row{{ignore,       ignore,       ignore,     ignore,      leave,   leave}},   // reported
  };
}();
// clang-format on

// Where a response leads; those that change nothing about the phase lead where it is.
constexpr Phase after(Phase now, Response response) noexcept {
  switch (response) {
    case Response::serve:
      return Phase::running;
    case Response::close_intake:
      return Phase::closing;
    case Response::close_door:
      return Phase::draining;
    case Response::count_kept:
      return Phase::expired;
    case Response::close_queue:
    case Response::leave:
      return Phase::stopped;
    case Response::ignore:
    case Response::hasten:
    case Response::reopen:
      break;
  }
  return now;
}

}  // namespace

Step step(Phase now, Happening what) noexcept {
  const Response response = kTable[static_cast<std::size_t>(what)][static_cast<std::size_t>(now)];
  return {after(now, response), response};
}

std::string_view to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::running:
      return "running";
    case Phase::closing:
      return "closing";
    case Phase::draining:
      return "draining";
    case Phase::expired:
      return "expired";
    case Phase::stopped:
      return "stopped";
  }
  return "?";
}

}  // namespace sluice
