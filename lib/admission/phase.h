// The table of phases: which phase follows when a signal arrives. A pure function, any thread. A signal that means
// nothing in a phase leaves it as it is: it refuses to go back.
#pragma once

#include <cstdint>

#include "sluice/phase.h"

namespace sluice {

enum class Signal : std::uint8_t {
  ready,        // the start is complete
  stop,         // a stop is requested: SIGTERM in sluiced, or shutdown()
  door_closed,  // no event is admitted from here
  deadline,     // the deadline has passed with events left
  reported,     // the report is complete
};

// Total: each phase answers each signal.
[[nodiscard]] Phase next_phase(Phase now, Signal signal) noexcept;

}  // namespace sluice
