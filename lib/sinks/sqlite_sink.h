// `sqlite:PATH`: a row an event, in the table events(id, received_at, content_type, payload).
#pragma once

#include <string>

#include "sluice/sinks.h"

namespace sluice {

// Opens nothing yet: the first sink opens the database for all of this process, on its worker's thread. It throws
// StartError (io: it cannot be opened; unusable: it is no database, or has a table `events` of another shape); where
// trying again may help, it is made all the same, and each deliver() tries.
[[nodiscard]] SinkFactory sqlite_sinks(const std::string& path);

}  // namespace sluice
