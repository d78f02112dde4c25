// `file:PATH` and `stdout:`: one line per event.
#pragma once

#include <cstdint>
#include <string>

#include "sluice/sinks.h"

namespace sluice {

enum class LineFormat : std::uint8_t {
  json,  // see json_line.h
  raw,   // the payload and a line feed
};

// Opens nothing yet: the first sink opens the file, or throws StartError (in_use, io). All sinks of this process on one
// path, of any factory, share one open file and one lock.
[[nodiscard]] SinkFactory file_sinks(const std::string& path, LineFormat format);

[[nodiscard]] SinkFactory stdout_sinks(LineFormat format);

}  // namespace sluice
