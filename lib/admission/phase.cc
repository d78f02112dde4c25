// The table has a row for each signal and a column for each phase; a cell is the phase that follows.
#include "admission/phase.h"

#include <array>
#include <cstddef>

namespace sluice {

namespace {

constexpr std::size_t kPhases = static_cast<std::size_t>(Phase::stopped) + 1;
constexpr std::size_t kSignals = static_cast<std::size_t>(Signal::reported) + 1;
using Row = std::array<Phase, kPhases>;

// clang-format off
constexpr std::array<Row, kSignals> kNext = [] {
  using enum Phase;
  return std::array<Row, kSignals>{
      //   starting  running  closing   draining  expired  stopped
      Row{{running,  running, closing,  draining, expired, stopped}},  // ready
      Row{{closing,  closing, closing,  draining, expired, stopped}},  // stop
      Row{{starting, running, draining, draining, expired, stopped}},  // door_closed
      Row{{starting, running, closing,  expired,  expired, stopped}},  // deadline
      Row{{starting, running, closing,  stopped,  stopped, stopped}},  // reported
  };
}();
// clang-format on

}  // namespace

Phase next_phase(Phase now, Signal signal) noexcept {
  return kNext[static_cast<std::size_t>(signal)][static_cast<std::size_t>(now)];
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
