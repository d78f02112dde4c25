// The sinks that come with Sluice, by URL. See the README for what each URL means and what it promises.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sluice/api.h"
#include "sluice/options.h"
#include "sluice/sink.h"

namespace sluice {

// What the built-in sinks need to know of the tracker they serve.
struct SinkOptions {
  Ack ack = Ack::queued;  // `delivered` is as durable as this
  LogHook log;            // for what a sink must say that is no event's verdict; empty: it is not said
};

// A factory for `null:`, `stdout:`, `file:PATH` or `sqlite:PATH`, with their ?name=value parameters. A file is opened
// here, a database on each worker's thread. Throws StartError, here or from Tracker's constructor: usage for a URL that
// is wrong, in_use for a path that another process holds, io for one that cannot be opened, unusable for a database of
// another shape. All sinks of this process on one path share what must be one (the lock, the open file).
// They go by the directory, the umask and the SIGPIPE of the program: who writes to a pipe ignores that signal.
[[nodiscard]] SLUICE_API SinkFactory sinks_for(std::string_view url, const SinkOptions& options);

// The URL is well formed: nothing. Otherwise one line that says what is wrong and what is allowed. Opens nothing.
[[nodiscard]] SLUICE_API std::optional<std::string> complaint_about(std::string_view url);

// An event as the file sink writes it: one line of JSON, with its line feed. Any event becomes valid JSON: what is not
// what its content type says goes in as "data_base64".
[[nodiscard]] SLUICE_API std::string json_line(const Delivery& event);

}  // namespace sluice
