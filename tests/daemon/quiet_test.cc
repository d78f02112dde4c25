// Quiet clients at a stop: a kept-alive connection that sends a request during the drain is answered 503 with
// `Connection: close`, not cut off; an idle stop waits for no quiet client; with --unready-delay readiness is red
// first.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::Client;
using test::Daemon;
using test::get;
using test::post;

using Clients = std::vector<std::unique_ptr<Client>>;

// So many that have been served and stay.
Clients clients_of(const Daemon& daemon, int count) {
  Clients clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<Client>(daemon.address()));
    CHECK(clients.back()->ask(post("application/json", "1")).status == 202);
  }
  return clients;
}

// Every loop has closed the intake, which is later than the line that announces it.
bool wait_draining(const std::string& admin, std::chrono::milliseconds limit) {
  for (const auto until = test::Clock::now() + limit; test::Clock::now() < until;) {
    if (test::ask_once(admin, get("/status")).body.find("\"draining\"") != std::string::npos) return true;
    std::this_thread::sleep_for(2ms);
  }
  return false;
}

}  // namespace

TEST_SUITE("daemon.quiet") {
  TEST_CASE("quiet: clients that speak while the daemon drains are answered 503 and told to go, every one of them") {
    // An event takes 20 ms: a drain of two seconds at least, within a fifth of 60.
    Daemon daemon(
        {"--sink", "null:?delay=20ms", "--workers", "1", "--batch-events", "1", "-t", "60s", "--io-threads", "2"});
    Clients clients = clients_of(daemon, 100);
    std::vector<std::unique_ptr<Client>> fresh;
    for (int i = 0; i < 20; ++i) fresh.push_back(std::make_unique<Client>(daemon.address()));
    daemon.signal_stop();
    REQUIRE(wait_draining(daemon.admin(), 10s));
    for (Clients* some : {&clients, &fresh}) {
      for (const auto& client : *some) {
        const Answer answer = client->ask(post("application/json", "2"));
        CHECK(answer.status == 503);
        CHECK(answer.header("connection") == "close");
        CHECK(answer.header("retry-after") == "1");
        CHECK(client->wait_closed());
        CHECK_FALSE(client->was_reset());
      }
    }
    const test::Ended ended = daemon.wait_end(60s);
    CHECK(ended.code == 0);
    CHECK(ended.report->accepted == 100);
    CHECK(ended.report->delivered == 100);
  }

  TEST_CASE("quiet: an idle stop waits for no quiet client, and closes each in order") {
    std::vector<double> took;
    for (int round = 0; round < 9; ++round) {
      Daemon daemon({"--sink", "null:", "-t", "60s"});
      Clients clients = clients_of(daemon, 32);
      REQUIRE(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 0);
      CHECK(ended.report->reason == "drained");
      took.push_back(ended.report->elapsed);
      for (const auto& client : clients) {
        CHECK(client->wait_closed());
        CHECK_FALSE(client->was_reset());
      }
    }
    std::sort(took.begin(), took.end());
    MESSAGE("SIGTERM to the report: median ", took[4] * 1000, " ms, worst ", took.back() * 1000, " ms");
    CHECK(took[4] < 0.5);  // far from the 12 s for which they might speak
  }

  TEST_CASE("quiet: with --unready-delay readiness is red and all is served, then the drain begins") {
    Daemon daemon({"--sink", "null:", "--unready-delay", "1500ms", "-t", "10s"});
    Client kept(daemon.address());
    CHECK(kept.ask(get("/readyz")).status == 200);
    daemon.signal_stop();
    for (const std::string& address : {daemon.address(), daemon.admin()}) {
      const Answer red = test::ask_until(address, get("/readyz"), 503, 1s);
      CHECK(red.status == 503);
      CHECK(red.body == "not ready: closing\n");
      CHECK(red.header("connection") == "keep-alive");
      CHECK(test::ask_once(address, get("/healthz")).status == 200);
    }
    CHECK(kept.ask(post("application/json", "1")).status == 202);
    CHECK(test::ask_once(daemon.address(), post("application/json", "2")).status == 202);
    const test::Ended ended = daemon.wait_end();
    CHECK(ended.code == 0);
    CHECK(ended.report->delivered == 2);
    CHECK(ended.after >= 1500ms);
    CHECK(ended.after < 10s);
  }

  TEST_CASE("quiet: the time of the drain begins behind --unready-delay, and a second signal ends the waiting") {
    {
      Daemon daemon({"--sink", "null:?hang=true", "--unready-delay", "1s", "-t", "500ms"});
      CHECK(test::ask_once(daemon.address(), post("application/json", "1")).status == 202);
      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 3);
      CHECK(ended.report->reason == "deadline");
      CHECK(ended.after >= 1500ms);
    }
    Daemon daemon({"--sink", "null:", "--unready-delay", "1h"});
    CHECK(test::ask_once(daemon.address(), post("application/json", "1")).status == 202);
    daemon.signal_stop();
    CHECK(test::ask_until(daemon.address(), get("/readyz"), 503, 10s).status == 503);
    daemon.process().signal(15);
    const test::Ended ended = daemon.wait_end();
    CHECK(ended.code == 0);
    CHECK(ended.report->delivered == 1);
  }
}
