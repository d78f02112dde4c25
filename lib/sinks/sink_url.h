// Parses a sink's URL: `scheme:path?name=value&name=value`. The path is used as written, up to the first `?`. Pure
// function; any thread. It opens nothing.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "sinks/file_sink.h"
#include "sinks/null_sink.h"

namespace sluice {

struct StdoutUrl {
  LineFormat format = LineFormat::json;
};
struct FileUrl {
  std::string path;
  LineFormat format = LineFormat::json;
};
struct SqliteUrl {
  std::string path;
};
struct BadUrl {
  std::string error;  // one line: what is wrong and what is allowed
};
using SinkUrl = std::variant<NullBehaviour, StdoutUrl, FileUrl, SqliteUrl, BadUrl>;

[[nodiscard]] SinkUrl parse_sink_url(std::string_view url);

}  // namespace sluice
