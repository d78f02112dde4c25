// `file:PATH` and `stdout:`: a line an event.
#pragma once

#include <cstdint>
#include <string>

#include "sluice/sinks.h"

namespace sluice {

enum class LineFormat : std::uint8_t {
  json,  // see json_line.h
  raw,   // the payload and a line feed
};

// Opens the file now; throws StartError (in_use, io). Whoever writes to that path in this process, through whatever
// factory, shares one open file and one lock.
[[nodiscard]] SinkFactory file_sinks(const std::string& path, LineFormat format, const SinkOptions& options);

[[nodiscard]] SinkFactory stdout_sinks(LineFormat format, const SinkOptions& options);

}  // namespace sluice
