// The sinks that come with Sluice, by URL. The manual lists what each URL does and what it promises.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sluice/api.h"
#include "sluice/sink.h"

namespace sluice {

// A factory for `null:`, `stdout:` or `file:PATH`, with their ?name=value parameters; sluice/sqlite.h has the same with
// `sqlite:PATH`. It opens nothing: each worker's sink does, on that worker's thread. Throws StartError: here (usage)
// for an invalid URL; from Tracker's constructor in_use for a file that another process holds, io for a path that
// cannot be opened, unusable for a file of another kind. What may pass without help (a full disk) is logged, and events
// wait. All sinks of this process on one file share its lock and descriptor, by whatever names they opened it. The
// program's working directory, umask and SIGPIPE disposition apply: ignore SIGPIPE when writing to a pipe.
[[nodiscard]] SLUICE_API SinkFactory sinks_for(std::string_view url);

// Nothing if the URL is valid; otherwise one line that says what is wrong and what is allowed. Opens nothing.
[[nodiscard]] SLUICE_API std::optional<std::string> complaint_about(std::string_view url);

// The file that a sink of this URL writes to; nothing if it has none or the URL is invalid. Opens nothing.
[[nodiscard]] SLUICE_API std::optional<std::string> file_of(std::string_view url);

// The URL for a log, a status or an error: without user and password, and without the values of parameters whose names
// suggest a secret (`?token=***`). In doubt it hides more. Takes any text.
[[nodiscard]] SLUICE_API std::string redacted(std::string_view url);

// An event as the file sink writes it: one line of JSON, with its line feed. Any event becomes valid JSON: a payload
// that does not match its content type goes in as "data_base64".
[[nodiscard]] SLUICE_API std::string json_line(const Delivery& event);

}  // namespace sluice
