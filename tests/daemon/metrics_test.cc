// /metrics of the real daemon: Prometheus's own reader takes it, its numbers are those that clients and sinks know, in
// every scrape, under load and to the end of a drain.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/load.h"
#include "support/say.h"
#include "support/scrape.h"

namespace {

using namespace std::chrono_literals;
using test::Client;
using test::Daemon;
using test::get;
using test::post;
using test::Scrape;
using test::scrape;

// Where scripts/test has unpacked it, or the system's.
std::string promtool() {
  for (const std::string& path :
       {SLUICE_PACKAGES + std::string("/prometheus/usr/bin/promtool"), std::string("/usr/bin/promtool")}) {
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

// What `promtool check metrics` has to say, lint included; nothing if all is well.
std::string complaint_about(const std::string& text) {
  const test::TempDir dir;
  const auto file = dir.path() / "metrics";
  std::ofstream(file, std::ios::binary) << text;
  test::Process check({"/bin/sh", "-c", R"(exec "$0" check metrics < "$1")", promtool(), file.string()}, {});
  const auto exit = check.wait_exit(20s);
  if (!exit) return "promtool does not end";
  return exit->code == 0 && check.errors().empty() ? "" : fmt::format("exit {}: {}", exit->code, check.errors());
}

// Whether two scrapes, one after the other, are what this daemon's can be; nothing if so.
std::string oddity(const Scrape& before, const Scrape& now) {
  const auto count = [&](const char* name) { return now.count(name); };
  const std::uint64_t accepted = count("sluice_accepted_total");
  const std::uint64_t kept = count("sluice_kept");
  const std::uint64_t finished =
      count("sluice_delivered_total") + count("sluice_dead_total") + count("sluice_lost_total");
  if (accepted != finished + kept || kept > accepted) {
    return fmt::format("the books do not balance: accepted {}, finished {}, kept {}", accepted, finished, kept);
  }
  for (const auto& [series, number] : now.numbers) {
    const auto name = series.substr(0, series.find('{'));
    if (!name.ends_with("_total") && !name.ends_with("_bucket") && !name.ends_with("_count") && !name.ends_with("_sum"))
      continue;
    if (number < before.of(series)) return fmt::format("{} fell from {} to {}", series, before.of(series), number);
  }
  for (const char* const name : {"sluice_batch_events", "sluice_sink_seconds", "sluice_commit_seconds"}) {
    if (now.of(fmt::format("{}_bucket{{le=\"+Inf\"}}", name)) != now.of(fmt::format("{}_count", name)))
      return fmt::format("{}: the buckets are not all that was counted", name);
  }
  return {};
}

}  // namespace

TEST_SUITE("daemon.metrics") {
  TEST_CASE("metrics: promtool finds nothing wrong, in a daemon that is new, busy, or draining") {
    if (promtool().empty()) {
      MESSAGE("skipped: promtool is not here (scripts/test unpacks it)");
      return;
    }
    CHECK(!complaint_about("# HELP x_count y\n# TYPE x_count gauge\nx_count 1\n").empty());  // it does look
    Daemon daemon({"--sink", "null:?delay=1ms&fail=0.01&refuse=0.01", "--retry-min", "1ms", "-t", "2s"});
    CHECK(complaint_about(scrape(daemon.admin()).text) == "");
    test::LoadPlan plan;
    plan.address = daemon.address();
    test::Load load(plan);
    REQUIRE(load.wait_acknowledged(1000, 20s));
    CHECK(complaint_about(scrape(daemon.admin()).text) == "");
    load.stop();
    static_cast<void>(load.fates());

    Daemon hung({"--sink", "null:?hang=true", "-t", "2s"});
    REQUIRE(test::ask_once(hung.address(), post("text/plain", "x")).status == 202);
    Client client(hung.admin());
    hung.signal_stop();
    auto draining = test::try_scrape(client);
    while (draining && std::isnan(draining->of("sluice_drain_seconds_left"))) draining = test::try_scrape(client);
    REQUIRE(draining);
    CHECK(complaint_about(draining->text) == "");
    CHECK(hung.wait_end().code == 3);
  }

  TEST_CASE("metrics: the books balance in each of 500 scrapes under load, and nothing that is counted ever falls") {
    const std::vector<test::Flags> ways = {
        {"--state-dir", "none", "--queue-events", "1000", "--sink", "null:"},
        {"--state-dir", "none", "--queue-events", "1000", "--sink", "null:?delay=1ms", "--batch-events", "64"},
        {"--queue-events", "1000", "--sink", "null:?fail=0.01&refuse=0.001", "--retry-min", "1ms", "--ack", "written"},
        {"--queue-events", "1000", "--sink", "null:?delay=1ms", "--batch-events", "64"}};
    for (const test::Flags& flags : ways) {
      const bool in_memory = flags.front() == "--state-dir";
      INFO("way ", &flags - ways.data());
      Daemon daemon(flags);
      test::LoadPlan plan;
      plan.address = daemon.address();
      plan.mode = test::Mode::ndjson;
      plan.most_events = 50'000'000;
      test::Load load(plan);
      REQUIRE(load.wait_acknowledged(1000, 20s));

      Client client(daemon.admin());
      auto before = test::try_scrape(client);
      REQUIRE(before);
      const std::uint64_t first = before->count("sluice_accepted_total");
      for (int i = 0; i < 500; ++i) {
        auto now = test::try_scrape(client);
        REQUIRE(now);
        const std::string odd = oddity(*before, *now);
        REQUIRE_MESSAGE(odd.empty(), odd);
        if (in_memory) REQUIRE(now->count("sluice_kept") <= 1000);  // as many as the door lets in
        before = std::move(now);
      }
      CHECK(before->count("sluice_accepted_total") > first);  // or there was no load
      load.stop();
      const test::Fates& told = load.fates();

      // At rest they are what the clients were told, and what is kept is what is there.
      REQUIRE(test::wait_status_number(daemon.admin(), "kept", 0, 20s));
      const Scrape last = scrape(daemon.admin());
      const std::string odd = oddity(*before, last);
      CHECK_MESSAGE(odd.empty(), odd);
      CHECK(last.count("sluice_accepted_total") == told.acknowledged);
      CHECK(last.refused("full") == told.refused);
      CHECK(last.count("sluice_queue_events") == 0);
      CHECK(last.count("sluice_in_flight") == 0);
      CHECK(last.count("sluice_batch_events_sum") >= last.count("sluice_delivered_total"));
      CHECK((last.count("sluice_commit_seconds_count") > 0) == !in_memory);
      CHECK((last.count("sluice_journal_bytes") > 0) == !in_memory);
      CHECK(daemon.stop().report->accepted == told.acknowledged);
    }
  }

  TEST_CASE(
      "metrics: with the sink hanging, what is kept is in memory or in the backlog; a restart calls it replayed") {
    const test::TempDir dir;
    const test::Flags flags = {"--state-dir", dir.path().string(), "--sink", "null:?hang=true", "-t", "0", "--workers",
                               "1",           "--batch-events",    "3",      "--queue-events",  "10"};
    {
      Daemon daemon(flags);
      REQUIRE(test::ask_once(daemon.address(), post("text/plain", "x")).status == 202);
      REQUIRE(test::wait_status_number(daemon.admin(), "in_flight", 1, 5s));
      for (int i = 1; i < 14; ++i) REQUIRE(test::ask_once(daemon.address(), post("text/plain", "x")).status == 202);
      const Scrape now = scrape(daemon.admin());
      CHECK(now.count("sluice_in_flight") == 1);
      CHECK(now.count("sluice_accepted_total") == 14);
      CHECK(now.count("sluice_kept") == 14);
      CHECK(now.count("sluice_queue_events") == 10);
      CHECK(now.count("sluice_workers") == 1);
      CHECK(now.of("sluice_worker_busy_seconds_total{worker=\"0\"}") > 0);
      CHECK(now.count("sluice_sink_seconds_count") == 0);  // it has not come back
      CHECK(daemon.stop().report->kept == 14);
    }
    Daemon daemon(flags);
    const Scrape now = scrape(daemon.admin());
    CHECK(now.count("sluice_replayed_total") == 14);
    CHECK(now.count("sluice_accepted_total") == 14);
    CHECK(now.count("sluice_kept") == 14);
  }

  TEST_CASE("metrics: each refusal is counted once, under the reason that its client was told") {
    Daemon daemon({"--state-dir", "none", "--sink", "null:?hang=true", "--queue-events", "2", "--request-timeout",
                   "300ms", "--max-event-bytes", "100", "--max-connections", "2", "-t", "0"});
    const auto refused = [&](const char* reason) { return scrape(daemon.admin()).refused(reason); };
    const auto status = [&](std::string_view request) { return test::ask_once(daemon.address(), request).status; };
    // A connection that was closed by its client may be one for a moment still.
    const auto alone = [&] { return test::wait_status_number(daemon.admin(), "connections", 0, 5s); };

    REQUIRE(status(post("application/x-ndjson", "1\n2\n")) == 202);
    REQUIRE(alone());
    CHECK(status(post("application/x-ndjson", "1\n2\n")) == 429);
    CHECK(refused("full") == 2);  // events
    REQUIRE(alone());
    CHECK(status(post("application/json", "{")) == 400);
    REQUIRE(alone());
    CHECK(status("\x16\x03\x01 this is no HTTP\r\n\r\n") == 400);
    REQUIRE(alone());
    CHECK(status("POST /v1/events HTTP/1.1\r\nHost: test\r\n\r\n") == 411);
    CHECK(refused("malformed") == 3);
    REQUIRE(alone());
    CHECK(status(post("text/plain", "x", "Content-Encoding: br\r\n")) == 415);
    CHECK(refused("unsupported") == 1);
    REQUIRE(alone());
    CHECK(status(post("text/plain", std::string(101, 'x'))) == 413);
    REQUIRE(alone());
    CHECK(status(post("application/x-ndjson", "1\n2\n3\n")) == 413);  // more than the queue could ever take
    CHECK(refused("too_large") == 1 + 3);
    REQUIRE(alone());
    {
      Client slow(daemon.address());
      slow.send("POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nx");
      const auto answer = slow.read_answer();
      REQUIRE(answer);
      CHECK(answer->status == 408);
      CHECK(refused("timeout") == 1);
    }
    REQUIRE(alone());
    {
      Client first(daemon.address());
      Client second(daemon.address());
      // Both are busy: an idle one would go.
      first.send("POST /v1/events HTTP/1.1\r\n");
      second.send("POST /v1/events HTTP/1.1\r\n");
      REQUIRE(test::wait_status_number(daemon.admin(), "answers_owed", 2, 5s));
      const auto answer = Client(daemon.address()).read_answer();
      REQUIRE(answer);
      CHECK(answer->status == 503);
      CHECK(refused("connections") == 1);
    }
    REQUIRE(alone());
    // What is about no event is no refusal of one.
    CHECK(status(get("/nowhere")) == 404);
    REQUIRE(alone());
    CHECK(status(get("/v1/events")) == 405);
    REQUIRE(alone());
    CHECK(status(get("/metrics")) == 404);  // the admin's alone
    double all = 0;
    for (const auto& [series, number] : scrape(daemon.admin()).numbers) {
      if (series.starts_with("sluice_refused_total")) all += number;
    }
    CHECK(all == 2 + 3 + 1 + 4 + refused("timeout") + 1);  // also of busy clients, if they were slow
    CHECK(daemon.stop().code == 4);
  }

  TEST_CASE("metrics: a scrape is a page as others are: its type, HEAD, and no other method") {
    Daemon daemon;
    Client client(daemon.admin());
    const test::Answer page = client.ask(get("/metrics?format=any"));
    CHECK(page.status == 200);
    CHECK(page.header("content-type") == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(page.body.ends_with("\n"));
    const test::Answer refusal = client.ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    CHECK(refusal.status == 405);
    CHECK(refusal.header("allow") == "GET, HEAD, OPTIONS");
    client.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.finish_sending();
    std::string head;
    for (char c = 0; ::read(client.fd(), &c, 1) == 1;) head += c;
    CHECK(head.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(head.find("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n") != std::string::npos);
    CHECK(head.find("\r\nContent-Length: ") != std::string::npos);
    CHECK(head.ends_with("\r\n\r\n"));
  }

  TEST_CASE(
      "metrics: a drain is seen to its end: the time left falls to 0, and the last scrape is the process's last") {
    constexpr auto kDrain = 2s;
    constexpr auto kAllowed =
        300ms;  // between the last scrape and the end; without the page it would be all of the time
    Daemon daemon({"--sink", "null:?hang=true", "-t", "2s", "--workers", "1"});
    for (int i = 0; i < 5; ++i) REQUIRE(test::ask_once(daemon.address(), post("text/plain", "x")).status == 202);
    Client client(daemon.admin());
    auto before = test::try_scrape(client);
    REQUIRE(before);
    CHECK(std::isnan(before->of("sluice_drain_seconds_left")));
    Client half(daemon.address());  // holds the first step of the stop, which must be seen as well
    half.send("POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nx");
    REQUIRE(test::wait_status_number(daemon.admin(), "answers_owed", 1, 5s));
    daemon.signal_stop();

    std::vector<double> left;
    test::Clock::time_point answered;
    for (auto now = test::try_scrape(client); now; now = test::try_scrape(client)) {
      answered = test::Clock::now();
      const std::string odd = oddity(*before, *now);
      CHECK_MESSAGE(odd.empty(), odd);
      CHECK(now->count("sluice_kept") == 5);
      const double seconds = now->of("sluice_drain_seconds_left");
      if (!std::isnan(seconds)) left.push_back(seconds);
      before = std::move(now);
    }
    const auto exit = daemon.process().wait_exit(5s);
    REQUIRE(exit);
    CHECK(exit->code == 3);
    const auto silence = std::chrono::ceil<test::milliseconds>(exit->at - answered);
    CHECK(silence <= kAllowed);
    REQUIRE(left.size() > 10);
    CHECK(left.front() <= std::chrono::duration<double>(kDrain).count());
    CHECK(left.front() > 1.7);  // and not only from a fifth of it on
    CHECK(left.back() <= std::chrono::duration<double>(kAllowed).count());
    CHECK(std::is_sorted(left.rbegin(), left.rend()));
  }
}
