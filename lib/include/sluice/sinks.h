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
  LogHook log;            // for what a sink must say that is no event's verdict
};

// A factory for `null:`, `stdout:`, `file:PATH` or `sqlite:PATH`, with their ?name=value parameters. Throws StartError:
// usage for a URL that is wrong, in_use for a path that another process holds, io for one that cannot be opened.
// The factory and its sinks share what must be one a path (the lock, the open file).
[[nodiscard]] SLUICE_API SinkFactory sinks_for(std::string_view url, const SinkOptions& options);

// The URL is well formed: nothing. Otherwise one line that says what is wrong and what is allowed. Opens nothing.
[[nodiscard]] SLUICE_API std::optional<std::string> complaint_about(std::string_view url);

// An event as the file sink writes it: one line of JSON, with its line feed.
[[nodiscard]] SLUICE_API std::string json_line(const Delivery& event);

}  // namespace sluice
