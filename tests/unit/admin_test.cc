// The pages' bodies, to the letter: programs read them.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "admin/pages.h"

namespace {

using namespace std::chrono_literals;

sluice::Status a_status() {
  sluice::Status status;
  status.phase = sluice::Phase::draining;
  status.books = {.accepted = 10, .delivered = 5, .dead = 1, .kept = 4, .lost = 0, .replayed = 2};
  status.queue_events = 4;
  status.queue_bytes = 400;
  status.in_flight = 3;
  status.retrying = 2;
  status.sink_failing = true;
  status.sink_failing_since = std::chrono::system_clock::time_point{} + 1500ms;
  status.sink_cause = "no \"room\"";
  status.refused_full = 7;
  status.refused_too_large = 8;
  status.refused_closed = 9;
  status.workers.push_back({.worker = 0,
                            .sink = "null:",
                            .state = sluice::WorkerState::in_sink,
                            .events = 3,
                            .first_sequence = 7,
                            .attempt = 2,
                            .in_state = 1500ms,
                            .delivered = 5,
                            .busy = 2s});
  return status;
}

sluiced::admin::About about_it() {
  sluiced::admin::About about;
  about.version = "1.2.3";
  about.run = "018f-run";
  about.started = std::chrono::system_clock::time_point{};
  about.uptime = 61250ms;
  about.events_limit = 1000;
  about.bytes_limit = 4096;
  about.connections = 2;
  about.answers_owed = 1;
  about.answered = {{202, 10}, {429, 7}};
  return about;
}

}  // namespace

TEST_CASE("admin: the status page says all that pages.h promises") {
  CHECK(sluiced::admin::status_json(a_status(), about_it()) ==
        R"({"run":"018f-run","version":"1.2.3","phase":"draining","ready":false,"started":"1970-01-01T00:00:00Z",)"
        R"("uptime_seconds":61.250,)"
        R"("books":{"accepted":10,"delivered":5,"dead":1,"kept":4,"lost":0,"replayed":2},)"
        R"("refused":{"full":7,"too_large":8,"closed":9},)"
        R"("queue":{"events":4,"bytes":400,"events_limit":1000,"bytes_limit":4096,"in_flight":3,"retrying":2},)"
        R"("sink":{"state":"failing","since":"1970-01-01T00:00:01Z","reason":"no \"room\""},)"
        R"("journal":{"bytes":0,"bytes_limit":0,"unreadable":0,"failed":false,"cause":""},)"
        R"("workers":[{"worker":0,"sink":"null:","state":"in_sink","events":3,"first":7,"attempt":2,)"
        R"("seconds":1.500000,"delivered":5,"busy_seconds":2.000000}],)"
        R"("http":{"connections":2,"answers_owed":1,"answered":{"202":10,"429":7}}})"
        "\n");
}

TEST_CASE("admin: the status page of nothing yet has empty lists, and of two workers a comma") {
  const std::string empty = sluiced::admin::status_json({}, {});
  CHECK(empty.find(R"("sink":{"state":"ok"},)") != std::string::npos);
  CHECK(empty.find(R"("workers":[],)") != std::string::npos);
  CHECK(empty.find(R"("answered":{}}})") != std::string::npos);
  sluice::Status two = a_status();
  two.workers.push_back({.worker = 1, .sink = "null:"});
  CHECK(sluiced::admin::status_json(two, {}).find(R"(},{"worker":1,)") != std::string::npos);
}

TEST_CASE("admin: no path of a sink breaks the JSON") {
  sluice::Status status = a_status();
  status.workers[0].sink = "file:/a\"b\\c\n\xff";
  CHECK(sluiced::admin::status_json(status, {}).find(R"("sink":"file:/a\"b\\c\n%FF",)") != std::string::npos);
}

TEST_CASE("admin: health and readiness say why not") {
  CHECK(sluiced::admin::healthz_body() == "alive\n");
  CHECK(sluiced::admin::readyz_body(true, "ignored") == "ready\n");
  CHECK(sluiced::admin::readyz_body(false, "draining") == "not ready: draining\n");
}
