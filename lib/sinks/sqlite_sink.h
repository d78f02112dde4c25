// `sqlite:PATH`: a row an event, in the table events(id, received_at, content_type, payload).
#pragma once

#include <string>

#include "sluice/sinks.h"

namespace sluice {

// Opens nothing yet: each sink opens a connection of its own on its worker's thread, and throws StartError there
// (in_use: it stays locked; io: it cannot be opened or is no database; unusable: it has a table `events` of another
// shape).
[[nodiscard]] SinkFactory sqlite_sinks(const std::string& path, const SinkOptions& options);

}  // namespace sluice
