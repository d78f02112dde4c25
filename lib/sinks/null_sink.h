// `null:`: discards events, and fails as configured, for tests and drills.
#pragma once

#include <chrono>

#include "sluice/sinks.h"

namespace sluice {

struct NullBehaviour {
  std::chrono::nanoseconds delay{0};  // per batch; a stop ends it early
  double fail = 0;                    // the probability that an event is to be tried again
  double refuse = 0;                  // the probability that an event is refused
  bool hang = false;                  // block for ever, ignoring the stop token
  bool spin = false;                  // likewise, using a CPU
};

[[nodiscard]] SinkFactory null_sinks(const NullBehaviour& behaviour);

}  // namespace sluice
