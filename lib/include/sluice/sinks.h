// The sinks that come with Sluice, by URL. What each URL means and promises: sluiced-sinks(7).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sluice/api.h"
#include "sluice/sink.h"

namespace sluice {

// A factory for `null:`, `stdout:`, `file:PATH` or `sqlite:PATH`, with their ?name=value parameters. It opens nothing
// itself: each worker's sink does, on that worker's thread. Throws StartError (usage) here for a URL that is wrong; the
// rest comes from Tracker's constructor: in_use for a file that another process holds, io for a path that cannot be
// opened, unusable for what is no database or one of another shape. What may pass by itself (a locked database, a full
// disk) is said in the log, and events wait. All sinks of this process on one file share what must be one (the lock,
// the open file), by whatever names they know it. They go by the directory, the umask and the SIGPIPE of the program:
// who writes to a pipe ignores that signal.
[[nodiscard]] SLUICE_API SinkFactory sinks_for(std::string_view url);

// The URL is well formed: nothing. Otherwise one line that says what is wrong and what is allowed. Opens nothing.
[[nodiscard]] SLUICE_API std::optional<std::string> complaint_about(std::string_view url);

// The file that a sink of this URL writes to; nothing if it has none, or for a URL that is wrong. Opens nothing.
[[nodiscard]] SLUICE_API std::optional<std::string> file_of(std::string_view url);

// The URL as it may be shown, in a log, a status, an error: without user and password, and without the values of
// parameters whose names sound like a secret (`?token=***`). Where it is in doubt it hides more. Takes any text.
[[nodiscard]] SLUICE_API std::string redacted(std::string_view url);

// An event as the file sink writes it: one line of JSON, with its line feed. Any event becomes valid JSON: what is not
// what its content type says goes in as "data_base64".
[[nodiscard]] SLUICE_API std::string json_line(const Delivery& event);

}  // namespace sluice
