// A function as a sink: called for each event, with the event's verdict as its result; an exception means try_again.
// All workers share the function and call it concurrently. An empty function is refused (StartError, usage).
#pragma once

#include "sluice/sink.h"

namespace sluice {

[[nodiscard]] SinkFactory handler_sinks(Handler handler);

}  // namespace sluice
