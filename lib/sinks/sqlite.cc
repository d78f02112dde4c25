// From a URL to a factory, `sqlite:` included. A file of its own: only programs that call it link libsqlite3.
#include "sluice/sqlite.h"

#include <variant>

#include "sinks/sink_url.h"
#include "sinks/sqlite_sink.h"
#include "sluice/sinks.h"

namespace sluice::sqlite {

SinkFactory sinks_for(std::string_view url) {
  const SinkUrl parsed = parse_sink_url(url);
  if (const auto* const database = std::get_if<SqliteUrl>(&parsed)) return sqlite_sinks(database->path);
  return sluice::sinks_for(url);
}

}  // namespace sluice::sqlite
