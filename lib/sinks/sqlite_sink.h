// `sqlite:PATH`: one row per event, in the table events(id, received_at, content_type, payload).
#pragma once

#include <string>

#include "sluice/sinks.h"

namespace sluice {

// Opens nothing yet: the first sink opens the database for all of this process, on its worker's thread. It throws
// StartError (io: it cannot be opened; unusable: it is no database, or its table `events` has other columns). If a
// later attempt may succeed, the sink is created all the same, and each deliver() tries to open the database.
[[nodiscard]] SinkFactory sqlite_sinks(const std::string& path);

}  // namespace sluice
