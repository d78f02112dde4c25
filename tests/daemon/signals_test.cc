// What signals do to a daemon that has something to lose: none but SIGKILL, and those of faults in the program itself,
// ends it undrained; and a second one is heard at once.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "support/bad_disk.h"
#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/held_thread.h"
#include "support/lives.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::DiskCall;
using test::feed;
using test::Flags;
using test::lines_with;

// A worker that takes 50 ms an event, and a memory that no disk stands behind: an undrained end loses events.
const Flags kSlow{"--state-dir", "none", "--sink", "null:?delay=50ms", "--workers", "1", "--batch-events", "1"};

std::vector<std::pair<int, std::string>> stray_signals() {
  std::vector<std::pair<int, std::string>> all{
      {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"},     {SIGALRM, "SIGALRM"}, {SIGPWR, "SIGPWR"},
      {SIGIO, "SIGPOLL"},   {SIGVTALRM, "SIGVTALRM"}, {SIGPROF, "SIGPROF"}, {SIGSTKFLT, "SIGSTKFLT"},
      {SIGXCPU, "SIGXCPU"}, {SIGRTMIN, "SIGRTMIN"}};
  for (int signal = SIGRTMIN + 1; signal <= SIGRTMAX; ++signal) {
    all.emplace_back(signal, fmt::format("SIGRTMIN+{}", signal - SIGRTMIN));
  }
  return all;
}

// A line of /proc/PID/status that holds a set of signals.
std::uint64_t signal_set(pid_t pid, std::string_view name) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return std::stoull(line.substr(name.size() + 1), nullptr, 16);
  }
  return 0;
}

}  // namespace

TEST_SUITE("daemon.signals") {
  TEST_CASE("signals: one that means nothing here neither ends the process nor loses an event, and is named once") {
    Daemon daemon(kSlow);
    feed(daemon, 20);
    for (int round = 0; round < 2; ++round) {
      for (const auto& [number, name] : stray_signals()) daemon.process().signal(number);
    }
    for (const auto& [number, name] : stray_signals()) {
      INFO(name);
      CHECK(daemon.process().wait_line(name + " came and is ignored", 5s));
    }
    // And again while it drains.
    daemon.signal_stop();
    for (const auto& [number, name] : stray_signals()) daemon.process().signal(number);
    const test::Ended ended = daemon.wait_end();
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->reason == "drained");
    CHECK(ended.report->delivered == 20);
    for (const auto& [number, name] : stray_signals()) {
      INFO(name);
      CHECK(lines_with(ended.errors, name + " came") == 1);
    }
  }

  TEST_CASE("signals: SIGQUIT drains as SIGTERM does") {
    Daemon daemon(kSlow);
    feed(daemon, 10);
    daemon.signal_stop(SIGQUIT);
    const test::Ended ended = daemon.wait_end();
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->delivered == 10);
  }

  TEST_CASE("signals: none is ignored, which a child would inherit, and those that end a process are caught") {
    Daemon daemon;
    const std::uint64_t ignored = signal_set(daemon.process().pid(), "SigIgn:");
    const std::uint64_t caught = signal_set(daemon.process().pid(), "SigCgt:");
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGXFSZ, SIGUSR1, SIGRTMIN, SIGRTMAX}) {
      INFO("signal ", signal);
      const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(signal - 1);
      CHECK((ignored & bit) == 0);
      CHECK((caught & bit) != 0);
    }
  }

  TEST_CASE("signals: a second one while a client's request is still being read ends the wait at once") {
    // The backstop comes 60 ms later: a round in which this machine is as late by itself is run again.
    constexpr auto kMostLate = 30ms;
    for (int round = 0; round < 10; ++round) {
      INFO("round ", round);
      std::string reason;
      const auto late = test::lateness_of(
          [&] {
            Daemon daemon({"--state-dir", "none", "--sink", "null:?hang=true", "-t", "60s"});
            feed(daemon, 10);
            test::Client half(daemon.address());
            REQUIRE(half.send("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"));
            REQUIRE(test::wait_status_number(daemon.admin(), "answers_owed", 1, 5s));
            daemon.signal_stop();
            REQUIRE(daemon.process().wait_line("closing", 5s));
            test::Control control(100ms);
            control.start();
            daemon.signal_stop();
            const test::Ended ended = daemon.wait_end();
            INFO("it said:\n", ended.errors);
            CHECK(ended.code == 4);
            REQUIRE(ended.report);
            CHECK(ended.report->lost == 10);
            reason = ended.report->reason;
            return test::Lateness{reason == "signal" ? 0ms : ended.after - 100ms, control.lateness()};
          },
          kMostLate);
      CHECK(late <= kMostLate);
      CHECK(reason == "signal");  // and not the backstop
    }
  }

  TEST_CASE("signals: a stop without any time still answers a request that is with the committer") {
    const test::TempDir dir;
    test::BadDisk disk(dir.path() / "state");
    Daemon daemon({"--state-dir", (dir.path() / "state").string(), "--sink", "null:", "-t", "0"}, disk.environment());
    feed(daemon, 1);
    test::Client client(daemon.address());
    disk.hold({DiskCall::sync});
    REQUIRE(client.send(test::post("text/plain", "x")));
    REQUIRE(disk.wait_held(5s));
    daemon.signal_stop();
    REQUIRE(daemon.process().wait_line("closing", 5s));
    disk.mend();
    const auto answer = client.read_answer();
    REQUIRE(answer);
    CHECK(answer->status == 202);
    CHECK(daemon.wait_end().code == 0);
  }

  TEST_CASE("signals: the backstop's exit code is 74 where the disk has failed and nothing is lost") {
    const test::TempDir dir;
    test::BadDisk disk(dir.path() / "state");
    Daemon daemon({"--state-dir", (dir.path() / "state").string(), "--sink", "null:?hang=true", "-t", "300ms"},
                  disk.environment());
    feed(daemon, 10);
    disk.fail({DiskCall::sync, DiskCall::write}, EIO);
    CHECK(test::ask_once(daemon.address(), test::post("text/plain", "x")).status == 500);
    const test::HeldThread held(daemon.process().pid());
    daemon.signal_stop();
    const test::Ended ended = daemon.wait_end();
    INFO("it said:\n", ended.errors);
    REQUIRE(ended.report);
    CHECK(ended.report->reason == "backstop");
    CHECK(ended.report->lost == 0);
    CHECK(ended.code == 74);
  }
}
