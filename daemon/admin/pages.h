// The bodies of the pages /status, /healthz and /readyz. Pure functions of plain values, any thread; daemon/pages.cc
// collects the values, because this room includes no other.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/host.h"
#include "sluice/report.h"

namespace sluiced::admin {

// Values that the tracker does not have.
struct About {
  std::string version;
  std::string run;  // the tracker's RunId as text
  bool ready = false;
  std::chrono::system_clock::time_point started;
  std::chrono::nanoseconds uptime{};
  std::size_t events_limit = 0;     // --queue-events
  std::size_t bytes_limit = 0;      // the part of --queue-bytes for admitted events
  std::uint64_t journal_limit = 0;  // --journal-bytes
  std::size_t connections = 0;      // of the intake, open now
  std::size_t answers_owed = 0;
  std::map<int, std::uint64_t> answered;  // answers by HTTP status, since the start
};

// One JSON object and a line end. Durations are seconds, counts are integers; keys are only ever added:
//   run, version, phase     text; phase is starting running closing draining expired stopped
//   ready                   as /readyz answers
//   started, uptime_seconds RFC 3339 in UTC, number
//   books                   {accepted delivered dead kept lost replayed}; accepted = delivered + dead + kept + lost
//   refused                 {full too_large closed}: events refused, by answer
//   queue                   {events bytes events_limit bytes_limit in_flight retrying}: admitted and not finished; of
//                           those, held by workers, and waiting for another attempt
//   sink                    {state since reason}: ok, or failing (it takes nothing), since when and why
//   journal                 {bytes bytes_limit failed cause}: on disk and reserved there; whether the disk has failed
//   workers                 [{worker sink state events first attempt seconds delivered busy_seconds}]: its
//                           batch (first sequence number, attempt), the time in this state; delivered and busy so far
//   http                    {connections answers_owed answered:{"202":N, …}}
[[nodiscard]] std::string status_json(const sluice::Status& status, const About& about);

// text/plain, one line each.
[[nodiscard]] std::string healthz_body();
[[nodiscard]] std::string readyz_body(bool ready, std::string_view reason);  // `reason`: if not ready

// The answer to POST /dead-letter/requeue or …/drop: {"requeued":N,"left":N}, or "dropped"; with "error" if something
// went wrong.
[[nodiscard]] std::string moved_json(std::string_view name, const sluice::DeadLettersMoved& moved);

// The N of `?limit=N` in a target, at most kMaxMoved; kMaxMoved without a query; nothing for any other query.
inline constexpr std::size_t kMaxMoved = 1000;  // so that the answer comes soon
[[nodiscard]] std::optional<std::size_t> limit_in(std::string_view target);

}  // namespace sluiced::admin
