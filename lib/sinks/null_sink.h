// `null:`: delivers to nowhere, as badly as it is told to, for tests and fire drills.
#pragma once

#include <chrono>

#include "sluice/sinks.h"

namespace sluice {

struct NullBehaviour {
  std::chrono::nanoseconds delay{0};  // for each batch; a stop cuts it short
  double fail = 0;                    // how probably an event is to be tried again
  double refuse = 0;                  // how probably an event is refused for good
  bool hang = false;                  // block for ever, whatever the stop token says
  bool spin = false;                  // likewise, but eating a CPU
};

[[nodiscard]] SinkFactory null_sinks(const NullBehaviour& behaviour);

}  // namespace sluice
