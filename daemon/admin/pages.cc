// Each key stands in one place, in the order of the list in pages.h.
#include "admin/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>
#include <utility>

#include "text/json_string.h"
#include "text/rfc3339.h"

namespace sluiced::admin {
namespace {

// A JSON string. These texts are URLs, so bytes that are not ASCII are percent-encoded: the page is valid UTF-8 even if
// a path is not.
std::string quoted(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    encoded += byte < 0x80 ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return sluice::json_string(encoded);
}

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

std::string utc(std::chrono::system_clock::time_point time) {
  return std::string(sluice::Rfc3339(time, sluice::Rfc3339::Precision::seconds).text());
}

std::string sink_json(const sluice::Status& status) {
  if (!status.sink_failing) return R"({"state":"ok"})";
  return fmt::format(R"({{"state":"failing","since":"{}","reason":{}}})", utc(status.sink_failing_since),
                     quoted(status.sink_cause));
}

std::string worker_json(const sluice::WorkerStatus& worker) {
  return fmt::format(
      R"({{"worker":{},"sink":{},"state":{},"events":{},"first":{},"attempt":{},"seconds":{:.6f},"delivered":{},)"
      R"("busy_seconds":{:.6f}}})",
      worker.worker, quoted(worker.sink), quoted(to_string(worker.state)), worker.events, worker.first_sequence,
      worker.attempt, seconds(worker.in_state), worker.delivered, seconds(worker.busy));
}

}  // namespace

std::string status_json(const sluice::Status& status, const About& about) {
  const sluice::Books& books = status.books;
  std::string json;
  const auto to = std::back_inserter(json);
  fmt::format_to(to, R"({{"run":{},"version":{},"phase":{},"ready":{},"started":"{}")", quoted(about.run),
                 quoted(about.version), quoted(to_string(status.phase)), about.ready, utc(about.started));
  fmt::format_to(to, R"(,"uptime_seconds":{:.3f})", seconds(about.uptime));
  fmt::format_to(to, R"(,"books":{{"accepted":{},"delivered":{},"dead":{},"kept":{},"lost":{},"replayed":{}}})",
                 books.accepted, books.delivered, books.dead, books.kept, books.lost, books.replayed);
  fmt::format_to(to, R"(,"refused":{{"full":{},"too_large":{},"closed":{}}})", status.refused_full,
                 status.refused_too_large, status.refused_closed);
  fmt::format_to(
      to, R"(,"queue":{{"events":{},"bytes":{},"events_limit":{},"bytes_limit":{},"in_flight":{},"retrying":{}}})",
      status.queue_events, status.queue_bytes, about.events_limit, about.bytes_limit, status.in_flight,
      status.retrying);
  fmt::format_to(to, R"(,"sink":{})", sink_json(status));
  fmt::format_to(to, R"(,"journal":{{"bytes":{},"bytes_limit":{},"unreadable":{},"failed":{},"cause":{}}})",
                 status.journal_bytes, about.journal_limit, status.journal_unreadable, status.disk_failed,
                 quoted(status.disk_cause));
  json += ",\"workers\":[";
  std::string_view comma;
  for (const sluice::WorkerStatus& worker : status.workers) {
    fmt::format_to(to, "{}{}", std::exchange(comma, ","), worker_json(worker));
  }
  fmt::format_to(to, R"(],"http":{{"connections":{},"answers_owed":{},"answered":{{)", about.connections,
                 about.answers_owed);
  comma = {};
  for (const auto& [code, count] : about.answered) {
    fmt::format_to(to, R"({}"{}":{})", std::exchange(comma, ","), code, count);
  }
  json += "}}}\n";
  return json;
}

std::string healthz_body() { return "alive\n"; }

std::string readyz_body(bool ready, std::string_view reason) {
  return ready ? "ready\n" : fmt::format("not ready: {}\n", reason);
}

std::string moved_json(std::string_view name, const sluice::DeadLettersMoved& moved) {
  const std::string error = moved.error.empty() ? "" : fmt::format(R"(,"error":{})", quoted(moved.error));
  const std::string damaged =
      moved.damaged == 0 ? "" : fmt::format(R"(,"damaged":{},"first_damaged":{})", moved.damaged, moved.first_damaged);
  return fmt::format("{{{}:{},\"left\":{}{}{}}}\n", quoted(name), moved.moved, moved.left, damaged, error);
}

std::optional<std::size_t> limit_in(std::string_view target) {
  const std::size_t mark = target.find('?');
  if (mark == std::string_view::npos) return kMaxMoved;
  std::string_view query = target.substr(mark + 1);
  constexpr std::string_view kName = "limit=";
  if (!query.starts_with(kName)) return std::nullopt;
  query.remove_prefix(kName.size());
  std::size_t limit = 0;
  const auto [end, error] = std::from_chars(query.data(), query.data() + query.size(), limit);
  if (error != std::errc{} || end != query.data() + query.size()) return std::nullopt;
  return std::min(limit, kMaxMoved);
}

}  // namespace sluiced::admin
