// A plain function as a sink: each event for itself, again if it throws. All workers share the function, so it is
// called by several at a time. It refuses no event for good; an empty function is refused itself (StartError, usage).
#pragma once

#include "sluice/sink.h"

namespace sluice {

[[nodiscard]] SinkFactory handler_sinks(Handler handler);

}  // namespace sluice
