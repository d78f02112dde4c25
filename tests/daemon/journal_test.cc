// What the journal is for, seen from outside: the deadline keeps what it cuts off, and neither a second process nor a
// removed directory costs an event or doubles one. Measures time, so it runs alone and in release builds only.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/lives.h"
#include "support/say.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::ask_until;
using test::batch;
using test::check_all_kept;
using test::Client;
using test::Daemon;
using test::feed;
using test::Flags;
using test::get;
using test::Lives;
using test::milliseconds;

constexpr milliseconds kMostLate = 100ms;  // what the backstop may add

}  // namespace

TEST_SUITE("daemon.journal") {
  TEST_CASE("journal: at the deadline, 60000 events in memory are kept, and the next life delivers each once") {
    constexpr std::size_t kEvents = 60'000;
    for (const std::string ack : {"queued", "written", "synced"}) {
      INFO("--ack ", ack);
      std::optional<Lives> lives;
      const auto late = test::lateness_of(
          [&] {
            lives.emplace(Flags{"--ack", ack, "-t", "1s"});
            Daemon daemon(lives->flags("null:?hang=true"));
            feed(daemon, kEvents);
            test::Control control(1s);
            control.start();
            daemon.signal_stop();
            const test::Ended ended = daemon.wait_end();
            check_all_kept(ended, kEvents, "deadline");
            return test::Lateness{ended.after - 1000ms, control.lateness()};
          },
          kMostLate);
      CHECK(late <= kMostLate);
      lives->drain(lives->sqlite(), kEvents);
      lives->check_sqlite(kEvents);
      lives->drain(lives->sqlite(), 0);
    }
  }

  TEST_CASE("journal: at a second signal, 60000 events in memory are kept, and the next life delivers each once") {
    constexpr std::size_t kEvents = 60'000;
    for (const std::string ack : {"queued", "written", "synced"}) {
      INFO("--ack ", ack);
      // 2 ms for each MiB that has no record; 60,000 events are less than 16 MiB.
      const milliseconds allowed = 100ms + (ack == "queued" ? 32ms : 0ms);
      std::optional<Lives> lives;
      const auto late = test::lateness_of(
          [&] {
            lives.emplace(Flags{"--ack", ack, "-t", "30s"});
            Daemon daemon(lives->flags("null:?hang=true"));
            feed(daemon, kEvents);
            daemon.signal_stop();
            REQUIRE(daemon.process().wait_exit(300ms) == std::nullopt);  // it waits for its sink
            test::Control control(allowed);
            control.start();
            daemon.signal_stop();
            const test::Ended ended = daemon.wait_end();
            check_all_kept(ended, kEvents, "signal");
            return test::Lateness{ended.after - allowed, control.lateness()};
          },
          kMostLate);
      CHECK(late <= kMostLate);
      lives->drain(lives->sqlite(), kEvents);
      lives->check_sqlite(kEvents);
    }
  }

  TEST_CASE("journal: --overflow reject takes what memory holds and leaves the rest to the client") {
    Lives lives({"--ack", "written", "--overflow", "reject", "--queue-events", "1000", "-t", "100ms"});
    {
      Daemon daemon(lives.flags("null:?hang=true"));
      Client client(daemon.address());
      for (std::size_t k = 0; k < 1000; k += 100) REQUIRE(client.ask(batch(k, 100)).status == 202);
      CHECK(client.ask(batch(1000, 1)).status == 429);
      check_all_kept(daemon.stop(), 1000, "deadline");
    }
    lives.drain(lives.sqlite(), 1000);
    lives.check_sqlite(1000);
  }

  TEST_CASE("journal: a second process on the same state directory is refused with 69, and harms nothing") {
    Lives lives({"--ack", "written", "-t", "100ms"});
    {
      Daemon daemon(lives.flags("null:?hang=true"));
      feed(daemon, 1000);
      const test::Ended second = test::run_to_end(lives.flags("null:", {"--listen", "127.0.0.1:0", "--admin", "none"}));
      INFO("the second said:\n", second.errors);
      CHECK(second.code == 69);
      CHECK(test::ask_once(daemon.address(), batch(1000, 1)).status == 202);
      check_all_kept(daemon.stop(), 1001, "deadline");
    }
    lives.drain(lives.sqlite(), 1001);
    lives.check_sqlite(1001);
  }

  TEST_CASE(
      "journal: of a last segment that begins with zeros, or was cut off, what is intact comes, the rest is lost") {
    constexpr std::size_t kEvents = 300;
    for (const bool zeroed : {true, false}) {
      INFO("zeroed: ", zeroed);
      Lives lives({"--ack", "synced", "-t", "300ms"});
      {
        Daemon daemon(lives.flags("null:?hang=true"));
        feed(daemon, kEvents);
        daemon.signal_stop(SIGKILL);
        static_cast<void>(daemon.wait_end());
      }
      const auto segment = lives.journal() / "segment-000001";
      if (zeroed) {
        const std::string zeros(8256, '\0');  // both headers, and the first event's record in part
        std::fstream(segment, std::ios::binary | std::ios::in | std::ios::out) << zeros;
      } else {
        std::filesystem::resize_file(segment, 0);
      }
      const test::Ended ended = lives.drained(lives.sqlite());
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 4);
      REQUIRE(ended.report);
      CHECK(ended.report->delivered == (zeroed ? kEvents - 1 : 0));
      CHECK(ended.report->lost == 1);
      CHECK(ended.report->balanced());
      CHECK(test::lines_with(ended.errors, "the journal is damaged segment=segment-000001 offset=0 ") == 1);
      CHECK(std::filesystem::exists(lives.journal() / "segment-000001.damaged"));
      lives.drain(lives.sqlite(), 0);
    }
  }

  TEST_CASE("journal: a second process on the same journal is refused, whichever lock file was removed") {
    Lives lives({"--ack", "written", "-t", "100ms"});
    const Lives elsewhere({"--ack", "written"});
    {
      Daemon daemon(lives.flags("null:?hang=true"));
      feed(daemon, 1000);
      REQUIRE(std::filesystem::remove(lives.state() / "lock"));
      std::filesystem::create_directories(elsewhere.state());
      std::filesystem::create_directory_symlink(lives.journal(), elsewhere.journal());
      for (const Lives* const other : {static_cast<const Lives*>(&lives), &elsewhere}) {
        const test::Ended second =
            test::run_to_end(other->flags("null:", {"--listen", "127.0.0.1:0", "--admin", "none"}));
        INFO("the second said:\n", second.errors);
        CHECK(second.code == 69);
        CHECK(test::lines_with(second.errors, "held by another process") == 1);
      }
      check_all_kept(daemon.stop(), 1000, "deadline");
    }
    lives.drain(lives.sqlite(), 1000);
    lives.check_sqlite(1000);
  }

  TEST_CASE("journal: one of another version is refused with 78, and not a byte of it is touched") {
    constexpr std::size_t kEvents = 100;
    Lives lives({"--ack", "synced", "-t", "100ms"});
    {
      Daemon daemon(lives.flags("null:?hang=true"));
      feed(daemon, kEvents);
      check_all_kept(daemon.stop(), kEvents, "deadline");
    }
    const auto segment = lives.journal() / "segment-000001";
    const std::string own = test::text_of(segment);
    std::string later = own;
    for (const std::size_t at : {0U, 4096U}) {
      later[at + 8] = '\x9';
      later.replace(at + 104, 100, std::string(100, 'n'));  // a longer header, whose checksum stands somewhere else
    }
    std::ofstream(segment, std::ios::binary) << later;
    const test::Ended ended = test::run_to_end(lives.flags("null:", {"--listen", "127.0.0.1:0", "--admin", "none"}));
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 78);
    CHECK(test::lines_with(ended.errors, "segment-000001 is of version 9, this program reads up to 2") == 1);
    CHECK(test::text_of(segment) == later);
    CHECK_FALSE(std::filesystem::exists(lives.journal() / "segment-000001.damaged"));
    std::ofstream(segment, std::ios::binary) << own;
    lives.drain(lives.sqlite(), kEvents);
    lives.check_sqlite(kEvents);
  }

  TEST_CASE("journal: removed while it runs: answers say so, readiness is red, and it recovers by itself") {
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      Lives lives({"--ack", ack, "-t", "300ms"});
      std::size_t taken = 0;
      {
        Daemon daemon(lives.flags("null:?hang=true"));
        feed(daemon, 500);
        taken = 500;
        std::filesystem::remove_all(lives.state());
        std::ofstream(lives.state()) << "in the way\n";  // so that it cannot recover yet
        // The first that meets the failure has no known outcome, but for `written` it may take a sync to be noticed.
        std::vector<std::size_t> unknown;
        Answer answer;
        const auto limit = test::Clock::now() + 5s;
        std::size_t next = taken;
        do {
          answer = test::ask_once(daemon.address(), batch(next, 1));
          if (answer.status == 202) ++taken;
          if (answer.status == 500) unknown.push_back(next);
          if (answer.status != 503) ++next;
        } while (answer.status != 503 && test::Clock::now() < limit);
        CHECK(answer.status == 503);
        CHECK(answer.header("retry-after") == "1");
        CHECK(test::ask_once(daemon.address(), get("/readyz")).status == 503);
        CHECK(test::ask_once(daemon.admin(), get("/readyz")).status == 503);
        CHECK(test::ask_once(daemon.address(), get("/healthz")).status == 200);

        std::filesystem::remove(lives.state());
        // No request asks for it.
        CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
        CHECK(test::ask_once(daemon.address(), batch(next, 100)).status == 202);
        taken += 100;
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        REQUIRE(ended.report);
        CHECK(ended.code == 3);
        CHECK(test::lines_with(ended.errors, "the journal has failed") == 1);
        CHECK(ended.report->balanced());
        CHECK(ended.report->lost == 0);
        CHECK(ended.report->replayed == 0);
        CHECK(ended.report->kept >= taken);
        CHECK(ended.report->kept <= taken + unknown.size());

        Daemon again(lives.flags(lives.sqlite()));
        CHECK(test::wait_status_number(again.admin(), "kept", 0, 20s));
        CHECK(again.stop().code == 0);
        const auto counts = test::delivered_to_sqlite(lives.sink(), next + 100);
        std::size_t missing = 0;
        for (std::size_t k = 0; k < counts.size(); ++k) {
          const bool may_be_missing = std::find(unknown.begin(), unknown.end(), k) != unknown.end();
          missing += counts[k] == 0 && !may_be_missing ? 1 : 0;
          CHECK(counts[k] <= 1);
        }
        CHECK(missing == 0);
      }
    }
  }
}
