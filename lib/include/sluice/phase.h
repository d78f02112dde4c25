// Where a tracker is in its life. Plain values. Phases only go forward; the tracker alone changes its phase.
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/api.h"

namespace sluice {

enum class Phase : std::uint8_t {
  starting,  // not ready yet
  running,   // accepts events
  closing,   // a stop has begun; the intake finishes its requests
  draining,  // no event is admitted; workers deliver the admitted ones
  expired,   // the deadline has passed; what is left is counted
  stopped,   // the report is final
};

[[nodiscard]] SLUICE_API std::string_view to_string(Phase phase) noexcept;

}  // namespace sluice
