// The hard deadline: the process is gone by it, whatever a sink, the main thread, stderr or systemd's socket does, and
// the books say what that has cost. Measures time, so it runs alone; a round in which a control process (control.h) is
// as late is run again.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>

#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/fd.h"
#include "support/held_thread.h"
#include "support/lives.h"
#include "support/say.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::feed;
using test::HeldThread;
using test::milliseconds;
using test::stop_with_deadline;
using test::Stopped;
using test::with;

constexpr milliseconds kMostLate = 100ms;  // what the backstop may add

// Everything accepted is lost: no disk stands behind the queue, and the sink has answered nothing.
void check_all_lost(const test::Ended& ended, std::size_t events, const std::string& reason) {
  INFO("last line: ", ended.last_line);
  CHECK(ended.code == 4);
  REQUIRE(ended.report);
  CHECK(ended.report->accepted == events);
  CHECK(ended.report->lost == events);
  CHECK(ended.report->balanced());
  if (!reason.empty()) CHECK(ended.report->reason == reason);
}

const test::Flags kHangingSink{"--state-dir", "none", "--sink", "null:?hang=true"};

void stop_a_stuck_sink(const std::string& sink, milliseconds deadline, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    INFO("round ", i, ", sink ", sink);
    const auto late = test::lateness_of(
        [&] {
          Daemon daemon({"--state-dir", "none", "--sink", sink, "--workers", "2", "-t", fmt::format("{}", deadline)});
          feed(daemon, 100);
          const Stopped stopped = stop_with_deadline(daemon, deadline);
          check_all_lost(stopped.ended, 100, "deadline");
          return stopped.late;
        },
        kMostLate);
    CHECK(late <= kMostLate);
    CHECK(late >= -5ms);  // it was given its time
  }
}

// systemd's socket, in the hands of somebody who reads nothing; choke() leaves no room in it.
class DeafNotifySocket {
 public:
  DeafNotifySocket() {
    path_ = (dir_.path() / "notify").string();
    to_.sun_family = AF_UNIX;
    std::memcpy(to_.sun_path, path_.data(), path_.size());
    receiver_ = test::Fd(test::must(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
    test::must(::bind(receiver_.get(), reinterpret_cast<const sockaddr*>(&to_), sizeof to_), "bind");
  }

  [[nodiscard]] std::string environment() const { return "NOTIFY_SOCKET=" + path_; }

  void choke() {
    const test::Fd sender(test::must(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
    test::must(::connect(sender.get(), reinterpret_cast<const sockaddr*>(&to_), sizeof to_), "connect");
    while (::send(sender.get(), "X=1", 3, 0) > 0) {
    }
    REQUIRE(errno == EAGAIN);
  }

 private:
  test::TempDir dir_;
  std::string path_;
  sockaddr_un to_{};
  test::Fd receiver_;
};

}  // namespace

TEST_SUITE("daemon.deadline") {
  TEST_CASE("deadline: with a sink that hangs it is gone in time, fifty of fifty times, and says what is lost") {
    stop_a_stuck_sink("null:?hang=true", 1000ms, 50);
  }

  TEST_CASE("deadline: with a sink that spins and ignores its stop token it is gone in time, fifty of fifty times") {
    stop_a_stuck_sink("null:?spin=true", 400ms, 50);
  }

  TEST_CASE("deadline: a deadline of 0 still gets its 100 ms, and no more") {
    for (int i = 0; i < 5; ++i) {
      const auto late = test::lateness_of(
          [] {
            Daemon daemon(with(kHangingSink, {"-t", "0"}));
            feed(daemon, 10);
            const Stopped stopped = stop_with_deadline(daemon, 100ms);
            check_all_lost(stopped.ended, 10, "deadline");
            return stopped.late;
          },
          kMostLate);
      CHECK(late <= kMostLate);
    }
  }

  TEST_CASE("deadline: a second signal ends the wait in 100 ms and 2 ms for each MiB; a third changes nothing") {
    struct Case {
      int second;
      std::size_t mebibytes;
    };
    for (const Case& it : {Case{SIGTERM, 0}, Case{SIGINT, 0}, Case{SIGTERM, 8}, Case{SIGTERM, 32}}) {
      INFO("signal ", it.second, ", ", it.mebibytes, " MiB");
      const milliseconds allowed = 100ms + 2ms * static_cast<int>(it.mebibytes + 1);
      const std::size_t events = 10 + it.mebibytes * 8;
      const auto late = test::lateness_of(
          [&] {
            Daemon daemon(with(kHangingSink, {"-t", "60s", "--queue-bytes", "256MiB"}));
            feed(daemon, 10);
            test::Client client(daemon.address());
            const std::string big(std::size_t{128} << 10U, 'x');
            for (std::size_t i = 10; i < events; ++i) REQUIRE(client.ask(test::post("text/plain", big)).status == 202);
            daemon.signal_stop();
            REQUIRE(daemon.process().wait_exit(300ms) == std::nullopt);  // it waits for its sink
            test::Control control(allowed);
            control.start();
            daemon.signal_stop(it.second);
            daemon.process().signal(SIGTERM);
            const test::Ended ended = daemon.wait_end(10s);
            check_all_lost(ended, events, "signal");
            return test::Lateness{ended.after - allowed, control.lateness()};  // since the second signal
          },
          kMostLate);
      CHECK(late <= kMostLate);
    }
  }

  TEST_CASE("deadline: with its main thread blocked before the signal, the backstop ends it and reports") {
    for (int i = 0; i < 5; ++i) {
      const auto late = test::lateness_of(
          [] {
            Daemon daemon(with(kHangingSink, {"-t", "500ms"}));
            feed(daemon, 100);
            const HeldThread held(daemon.process().pid());
            const Stopped stopped = stop_with_deadline(daemon, 500ms);
            check_all_lost(stopped.ended, 100, "backstop");
            return stopped.late;
          },
          kMostLate);
      CHECK(late <= kMostLate);
    }
  }

  TEST_CASE("deadline: with its main thread blocked in the middle of the drain, the backstop ends it and reports") {
    const auto late = test::lateness_of(
        [] {
          Daemon daemon(with(kHangingSink, {"-t", "800ms"}));
          feed(daemon, 100);
          test::Control control(800ms);
          control.start();
          daemon.signal_stop();
          CHECK(daemon.process().wait_exit(300ms) == std::nullopt);
          const HeldThread held(daemon.process().pid());
          const test::Ended ended = daemon.wait_end();
          check_all_lost(ended, 100, "backstop");
          return test::Lateness{ended.after - 800ms, control.lateness()};
        },
        kMostLate);
    CHECK(late <= kMostLate);
  }

  TEST_CASE("deadline: with its main thread blocked, a second signal still shortens the wait") {
    const auto late = test::lateness_of(
        [] {
          Daemon daemon(with(kHangingSink, {"-t", "60s"}));
          feed(daemon, 100);
          const HeldThread held(daemon.process().pid());
          daemon.signal_stop();
          CHECK(daemon.process().wait_exit(100ms) == std::nullopt);
          const Stopped stopped = stop_with_deadline(daemon, 102ms);
          check_all_lost(stopped.ended, 100, "backstop");
          return stopped.late;
        },
        kMostLate);
    CHECK(late <= kMostLate);
  }

  TEST_CASE("deadline: a stderr that is a full pipe holds nobody; the report is in the state directory") {
    for (const std::string sink : {"null:?hang=true", "null:"}) {
      INFO("sink ", sink);
      const test::TempDir dir;
      int code = -1;
      const auto late = test::lateness_of(
          [&] {
            Daemon daemon({"--state-dir", dir.path().string(), "--sink", sink, "-t", "500ms", "--log-level", "debug"});
            daemon.process().plug_stderr();
            feed(daemon, 100);
            const Stopped stopped = stop_with_deadline(daemon, 500ms);
            code = stopped.ended.code;
            return stopped.late;
          },
          kMostLate);
      CHECK(late <= kMostLate);
      const std::string text = test::text_of(dir.path() / "last-exit.json");
      const auto report = test::report_in_json(text);
      REQUIRE_MESSAGE(report, text);
      CHECK(report->accepted == 100);
      CHECK(report->balanced());
      CHECK(report->reason == (sink == "null:" ? "drained" : "deadline"));
      CHECK(report->kept == (sink == "null:" ? 0 : 100));
      CHECK(code == (sink == "null:" ? 0 : 3));
    }
  }

  TEST_CASE(
      "deadline: a main thread that is blocked and a full pipe together leave the report in the state directory") {
    const test::TempDir dir;
    const auto late = test::lateness_of(
        [&] {
          Daemon daemon({"--state-dir", dir.path().string(), "--sink", "null:?hang=true", "-t", "500ms"});
          feed(daemon, 100);
          daemon.process().plug_stderr();
          const HeldThread held(daemon.process().pid());
          const Stopped stopped = stop_with_deadline(daemon, 500ms);
          CHECK(stopped.ended.code == 3);
          return stopped.late;
        },
        kMostLate);
    CHECK(late <= kMostLate);
    const std::string text = test::text_of(dir.path() / "last-exit.json");
    const auto report = test::report_in_json(text);
    REQUIRE_MESSAGE(report, text);
    CHECK(report->reason == "backstop");
    CHECK(report->kept == 100);
    CHECK(report->lost == 0);
  }

  TEST_CASE("deadline: a systemd that does not read its socket holds nobody") {
    for (const std::string sink : {"null:?hang=true", "null:"}) {
      INFO("sink ", sink);
      const auto late = test::lateness_of(
          [&] {
            DeafNotifySocket systemd;
            Daemon daemon({"--state-dir", "none", "--sink", sink, "-t", "500ms"}, {systemd.environment()});
            feed(daemon, 100);
            systemd.choke();
            const Stopped stopped = stop_with_deadline(daemon, 500ms);
            REQUIRE(stopped.ended.report);
            CHECK(stopped.ended.report->balanced());
            CHECK(stopped.ended.report->lost == (sink == "null:" ? 0 : 100));
            CHECK(stopped.ended.code == (sink == "null:" ? 0 : 4));
            return stopped.late;
          },
          kMostLate);
      CHECK(late <= kMostLate);
    }
  }

  TEST_CASE("deadline: a batch whose sink answers within the last millisecond is counted once") {
    const unsigned seed = std::random_device{}();
    INFO("seed ", seed);
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> microseconds(-1000, 1000);
    std::size_t delivered = 0;
    std::size_t lost = 0;
    for (int i = 0; i < 60; ++i) {
      // Each of eight workers gets an event now; the sinks answer 250 ms later, and that is when the deadline is, ± 1
      // ms.
      Daemon daemon({"--state-dir", "none", "--sink", "null:?delay=250ms", "-t", "150ms", "--workers", "8",
                     "--batch-events", "1"});
      feed(daemon, 8);
      const auto fed = test::Clock::now();
      std::this_thread::sleep_until(fed + 100ms + std::chrono::microseconds(microseconds(random)));
      const auto [late, ended] = stop_with_deadline(daemon, 150ms);
      INFO("round ", i, ", last line: ", ended.last_line);
      REQUIRE(ended.report);
      CHECK(ended.report->accepted == 8);
      CHECK(ended.report->balanced());
      CHECK(ended.report->delivered + ended.report->lost == 8);
      if (ended.report->lost > 0) {
        CHECK(ended.code == 4);
        CHECK(ended.report->reason == "deadline");
      } else {
        CHECK(ended.code == (ended.report->reason == "drained" ? 0 : 3));
      }
      CHECK(late.daemon <= kMostLate + late.control);
      delivered += ended.report->delivered;
      lost += ended.report->lost;
    }
    MESSAGE("at the deadline ± 1 ms: ", delivered, " delivered, ", lost, " lost");
  }
}
