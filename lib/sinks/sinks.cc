// From a URL to a factory, for the sinks that need no other library. Any thread; it refuses `sqlite:`, which
// sqlite.cc knows.
#include "sluice/sinks.h"

#include "sinks/file_sink.h"
#include "sinks/null_sink.h"
#include "sinks/sink_url.h"
#include "sluice/error.h"

namespace sluice {

namespace {

struct MakeFactory {
  SinkFactory operator()(const NullBehaviour& null) const { return null_sinks(null); }
  SinkFactory operator()(const StdoutUrl& url) const { return stdout_sinks(url.format); }
  SinkFactory operator()(const FileUrl& url) const { return file_sinks(url.path, url.format); }
  SinkFactory operator()(const SqliteUrl& /*url*/) const {
    throw StartError(StartError::Kind::usage,
                     "sqlite: this program is built without it: use sluice::sqlite::sinks_for() (sluice/sqlite.h)");
  }
  SinkFactory operator()(const BadUrl& url) const { throw StartError(StartError::Kind::usage, url.complaint); }
};

}  // namespace

SinkFactory sinks_for(std::string_view url) { return std::visit(MakeFactory{}, parse_sink_url(url)); }

std::optional<std::string> complaint_about(std::string_view url) {
  const SinkUrl parsed = parse_sink_url(url);
  if (const auto* const bad = std::get_if<BadUrl>(&parsed)) return bad->complaint;
  return std::nullopt;
}

std::optional<std::string> file_of(std::string_view url) {
  const SinkUrl parsed = parse_sink_url(url);
  if (const auto* const file = std::get_if<FileUrl>(&parsed)) return file->path;
  if (const auto* const database = std::get_if<SqliteUrl>(&parsed)) return database->path;
  return std::nullopt;
}

}  // namespace sluice
