// Collects values and hands them to the admin room, which knows no other room and writes the texts.
#include "pages.h"

#include <fmt/format.h>

#include <cstddef>
#include <utility>

#include "admin/metrics.h"
#include "admin/pages.h"
#include "sluice/version.h"

namespace sluiced {

using sluice::LogLevel;
using sluice::Phase;

// A tracker runs before its intake is open; until then the daemon is starting.
Phase Pages::phase() const noexcept {
  return intake_.load() == nullptr ? Phase::starting : sluice::Host(tracker_).phase();
}

Readiness Pages::readiness() const noexcept {
  const Phase now = phase();
  if (now != Phase::running) return {false, to_string(now)};
  if (sluice::Host(tracker_).disk_failed()) return {false, "the disk has failed"};
  return {true, {}};
}

http::Counters Pages::intake_counters() const {
  const http::Server* const intake = intake_.load();
  return intake != nullptr ? intake->counters() : http::Counters();
}

http::Page Pages::readyz() const {
  const auto [ready, reason] = readiness();
  return {ready ? 200 : 503, "text/plain", admin::readyz_body(ready, reason)};
}

http::Page Pages::status() const {
  const http::Counters http = intake_counters();
  sluice::Status status = tracker_.status();
  status.phase = phase();
  return {200, "application/json",
          admin::status_json(status, {.version = std::string(sluice::version()),
                                      .run = run_text(tracker_),
                                      .ready = readiness().ready,
                                      .started = started_,
                                      .uptime = std::chrono::steady_clock::now() - began_,
                                      .events_limit = options_.queue_events,
                                      .bytes_limit = options_.window_bytes(),
                                      .journal_limit = options_.journal_bytes,
                                      .connections = http.connections,
                                      .answers_owed = http.answers_owed,
                                      .answered = http.answered})};
}

http::Page Pages::metrics() const {
  admin::Edge edge;
  const http::Counters http = intake_counters();
  for (std::size_t why = 0; why < http.refused.size(); ++why) {
    edge.refused.emplace(to_string(static_cast<http::Refused>(why)), http.refused[why]);
  }
  if (phase() > Phase::running) edge.drain_left = signals_.deadline() - host::StopSignals::Clock::now();
  return {200, std::string(admin::kMetricsType), admin::metrics_text(sluice::Host(tracker_).metrics(), edge)};
}

http::Pages Pages::for_intake() const {
  return {{"/healthz",
           [] {
             return http::Page{200, "text/plain", admin::healthz_body()};
           }},
          {"/readyz", [this] { return readyz(); }}};
}

http::Pages Pages::for_admin() const {
  http::Pages pages = for_intake();
  pages["/status"] = [this] { return status(); };
  pages["/metrics"] = [this] { return metrics(); };
  return pages;
}

http::Page Pages::move(std::string_view name, Move how, std::string_view target) const {
  const auto limit = admin::limit_in(target);
  if (!limit) return {400, "text/plain", "allowed: ?limit=N\n"};
  const sluice::DeadLettersMoved moved = (sluice::Host(tracker_).*how)(*limit);
  log_.write(moved.error.empty() ? LogLevel::info : LogLevel::warn,
             fmt::format("dead letters {}={} left={}{}{}", name, moved.moved, moved.left,
                         moved.error.empty() ? "" : " error=", moved.error));
  if (moved.damaged > 0) {
    log_.write(LogLevel::warn, fmt::format("lines that are no dead letters were set aside lines={} first={} in={}",
                                           moved.damaged, moved.first_damaged, "dead-letter.damaged"));
  }
  return {moved.error.empty() ? 200 : 503, "application/json", admin::moved_json(name, moved)};
}

http::Actions Pages::actions() const {
  return {{"/dead-letter/requeue",
           [this](std::string_view target) { return move("requeued", &sluice::Host::requeue_dead_letters, target); }},
          {"/dead-letter/drop",
           [this](std::string_view target) { return move("dropped", &sluice::Host::drop_dead_letters, target); }}};
}

std::string run_text(const sluice::Tracker& tracker) {
  const std::string id = to_string(sluice::EventId{tracker.run(), 0});
  return id.substr(0, id.rfind('-'));
}

}  // namespace sluiced
