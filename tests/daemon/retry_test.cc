// What is sent again, beneath the real daemon: a database whose owner's trigger cannot make sense of some events, and
// one that is locked for good. Poisoned events hold up neither the others nor the stop; /status and /metrics show what
// waits.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <string>

#include "support/client.h"
#include "support/daemon.h"
#include "support/database.h"
#include "support/lives.h"
#include "support/say.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::Database;
using test::lines_with;
using test::Lives;
using test::wait_status_number;

// A trigger that takes JSON for granted.
void make_table(const Lives& lives) {
  Database database(lives.sink());
  database.run("CREATE TABLE events(id TEXT PRIMARY KEY NOT NULL, received_at, content_type, payload)");
  database.run(
      "CREATE TRIGGER t BEFORE INSERT ON events BEGIN SELECT json_extract(new.payload, '$.x') WHERE new.payload IS NOT "
      "NULL; END");
}

}  // namespace

TEST_SUITE("daemon.retry") {
  TEST_CASE("retry: two poisoned events and two workers, and 100 others are delivered, and the stop is short") {
    const Lives lives({"--workers", "2", "--drain-timeout", "20s", "--retry-min", "5s"});
    make_table(lives);
    std::size_t kept = 0;
    {
      Daemon daemon(lives.flags(lives.sqlite()));
      for (int i = 0; i < 2; ++i) {
        REQUIRE(test::ask_once(daemon.address(), test::post("text/plain", "no JSON")).status == 202);
      }
      REQUIRE(wait_status_number(daemon.admin(), "retrying", 2, 10s));
      const auto began = test::Clock::now();
      for (int i = 0; i < 100; ++i) {
        REQUIRE(test::ask_once(daemon.address(), test::post("application/json", "{\"x\":1}")).status == 202);
      }
      CHECK(wait_status_number(daemon.admin(), "delivered", 100, 10s));
      CHECK(test::Clock::now() - began < 5s);  // an event would wait for 5 s behind a poisoned one
      const std::string metrics = test::ask_once(daemon.admin(), test::get("/metrics")).body;
      CHECK(lines_with(metrics, "sluice_retry_events 2") == 1);
      CHECK(lines_with(metrics, "sluice_sink_failing 0") == 1);

      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 3);
      CHECK(ended.after < 5s);
      REQUIRE(ended.report);
      CHECK(ended.report->reason == "sink");
      CHECK(ended.report->delivered == 100);
      CHECK(ended.report->kept == 2);
      CHECK(lines_with(ended.errors, "event is kept, the sink does not take it id=") == 2);
      kept = ended.report->kept;
    }
    {
      Database(lives.sink()).run("DROP TRIGGER t");
      const test::Ended ended = lives.drained(lives.sqlite());
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->replayed == kept);
      CHECK(ended.report->delivered == 2);
    }
    CHECK(Database(lives.sink()).ask("SELECT count(*) FROM events") == "102");
  }

  TEST_CASE("retry: an event that only fails becomes a dead letter once others were delivered five times") {
    const Lives lives({"--workers", "2", "--retry-min", "1ms", "--retry-max", "2ms"});
    make_table(lives);
    Daemon daemon(lives.flags(lives.sqlite()));
    REQUIRE(test::ask_once(daemon.address(), test::post("text/plain", "no JSON")).status == 202);
    for (int i = 0; i < 200 && test::status_number(daemon.admin(), "dead") == 0; ++i) {
      REQUIRE(test::ask_once(daemon.address(), test::post("application/json", "{\"x\":1}")).status == 202);
    }
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->dead == 1);
    CHECK(lines_with(test::text_of(lives.state() / "dead-letter.ndjson"), "it failed 5 times while others") == 1);
  }

  TEST_CASE("retry: a sink that takes nothing is shown as failing, since when and why, and as ok once it does") {
    const Lives lives({"--workers", "2", "--retry-min", "10ms", "--drain-timeout", "10s"});
    Daemon daemon(lives.flags("null:?fail=1"));
    test::feed(daemon, 10);
    REQUIRE(daemon.process().wait_line("sink failed, trying again", 10s));
    REQUIRE(wait_status_number(daemon.admin(), "in_flight", 0, 10s));
    const std::string status = test::ask_once(daemon.admin(), test::get("/status")).body;
    CHECK_MESSAGE(status.find(R"("sink":{"state":"failing","since":"20)") != std::string::npos, status);
    CHECK_MESSAGE(status.find(R"("reason":"null: fails"})") != std::string::npos, status);
    const std::string metrics = test::ask_once(daemon.admin(), test::get("/metrics")).body;
    CHECK(lines_with(metrics, "sluice_sink_failing 1") == 1);
    daemon.process().signal(SIGKILL);
    static_cast<void>(daemon.wait_end());
    Daemon next(lives.flags(lives.sqlite()));
    CHECK(wait_status_number(next.admin(), "kept", 0, 10s));
    CHECK(test::ask_once(next.admin(), test::get("/status")).body.find(R"("sink":{"state":"ok"})") !=
          std::string::npos);
    CHECK(next.stop().code == 0);
  }
}
