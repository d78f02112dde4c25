// What the journal is for, seen from outside: the deadline keeps what it cuts off, memory stays a window onto the disk,
// the disk has a bound as well, and neither a clean exit nor a second process nor a removed directory costs an event or
// doubles one. Measures time and memory, so it runs alone and in release builds only.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/lives.h"
#include "support/load.h"
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
using test::kMiB;
using test::Lives;
using test::milliseconds;
using test::on_disk;
using test::OnDisk;
using test::order_in_file;
using test::resident_growth;
using test::resident_when_idle;

constexpr milliseconds kMostLate = 100ms;  // what the backstop may add

test::LoadPlan one_producer(const Daemon& daemon, std::size_t first, std::size_t end) {
  test::LoadPlan plan;
  plan.address = daemon.address();
  plan.mode = test::Mode::ndjson;
  plan.connections = 1;  // its requests follow one another, so its numbers are in order
  plan.batch = 100;
  plan.first_event = first;
  plan.most_events = end;
  return plan;
}

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

  TEST_CASE("journal: 200000 events behind a window of 1000: memory bounded, all delivered in order, new ones behind") {
    constexpr std::size_t kOld = 200'000;
    constexpr std::size_t kQueueBytes = 8 * kMiB;
    constexpr std::size_t kMostGrowth = kQueueBytes + 32 * kMiB;
    Lives lives({"--ack", "written", "--queue-events", "1000", "--queue-bytes", fmt::format("{}", kQueueBytes),
                 "--workers", "1"});
    {
      Daemon daemon(lives.flags("null:?hang=true", {"-t", "100ms"}));
      const std::size_t idle = resident_when_idle(daemon);
      test::Load load(one_producer(daemon, 0, kOld));
      CHECK(load.fates(60s).acknowledged == kOld);
      const std::size_t growth = resident_growth(daemon, idle);
      MESSAGE("with ", kOld, " accepted grown by ", growth >> 10U, " KiB of ", kMostGrowth >> 10U);
      CHECK(growth <= kMostGrowth);
      check_all_kept(daemon.stop(), kOld, "deadline");
    }
    Daemon daemon(lives.flags(lives.file(), {"-t", "20s"}));
    CHECK(daemon.start_took() <= 1s);
    const std::size_t idle = resident_when_idle(daemon);
    test::Load load(one_producer(daemon, kOld, 2'000'000));  // while the backlog comes back
    REQUIRE(load.wait_acknowledged(20'000, 20s));
    CHECK(test::status_number(daemon.admin(), "replayed") == kOld);
    load.stop();
    const test::Fates& told = load.fates();
    CHECK(told.refused == 0);
    CHECK(told.unknown == 0);
    CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 60s));
    const std::size_t growth = resident_growth(daemon, idle);
    MESSAGE("in replay grown by ", growth >> 10U, " KiB of ", kMostGrowth >> 10U);
    CHECK(growth <= kMostGrowth);
    const test::Ended ended = daemon.stop();
    CHECK_MESSAGE(ended.code == 0, ended.errors);
    REQUIRE(ended.report);
    CHECK(ended.report->balanced());
    CHECK(ended.report->replayed == kOld);
    CHECK(ended.report->accepted == kOld + told.acknowledged);

    const std::vector<std::size_t> order = order_in_file(lives.sink());
    CHECK(order.size() == kOld + told.acknowledged);
    std::size_t out_of_place = 0;
    for (std::size_t i = 0; i < order.size(); ++i) out_of_place += order[i] == i ? 0 : 1;
    CHECK(out_of_place == 0);
  }

  TEST_CASE("journal: a sink slower than its producers: the seam between memory and disk keeps each producer's order") {
    constexpr std::size_t kSecond = 500'000;  // the other producer's numbers
    Lives lives({"--ack", "written", "--queue-events", "200", "--workers", "1", "--batch-events", "50"});
    Daemon daemon(lives.flags(lives.file(), {"-t", "20s"}));
    std::optional<test::Load> loads[2];
    loads[0].emplace(one_producer(daemon, 0, 30'000));
    loads[1].emplace(one_producer(daemon, kSecond, kSecond + 30'000));
    for (auto& load : loads) CHECK(load->fates(60s).acknowledged == 30'000);
    const test::Ended ended = daemon.stop();
    CHECK_MESSAGE(ended.report, ended.errors);
    CHECK(ended.report->balanced());
    CHECK(ended.report->lost == 0);
    if (ended.report->kept > 0) lives.drain(lives.file(), ended.report->kept);  // a backlog stays where it is safe
    std::size_t next[2] = {0, kSecond};
    std::size_t out_of_order = 0;
    for (const std::size_t k : order_in_file(lives.sink())) {
      std::size_t& expected = next[k < kSecond ? 0 : 1];
      out_of_order += k == expected ? 0 : 1;
      expected = k + 1;
    }
    CHECK(out_of_order == 0);
    CHECK(next[0] == 30'000);
    CHECK(next[1] == kSecond + 30'000);
  }

  TEST_CASE("journal: --journal-bytes reached is 429, and it takes again as it drains; finished segments are gone") {
    constexpr std::size_t kRequest = 100;
    constexpr std::size_t kPadding = 1000;
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      Lives lives({"--ack", ack, "--journal-bytes", "8MiB", "--queue-events", "1000", "--workers", "1",
                   "--batch-events", "32", "-t", "20s"});
      Daemon daemon(lives.flags("null:?delay=20ms"));  // 1.6 MB a second, less than is sent
      std::size_t sent = 0;
      std::size_t times_full = 0;
      const auto limit = test::Clock::now() + 30s;
      Client client(daemon.address());
      while (times_full < 3 && test::Clock::now() < limit) {
        Answer answer = client.ask(batch(sent, kRequest, kPadding));
        while (answer.status == 202) {
          sent += kRequest;
          answer = client.ask(batch(sent, kRequest, kPadding));
        }
        REQUIRE_MESSAGE(answer.status == 429, answer.body);
        CHECK(answer.header("retry-after") == "1");
        ++times_full;
        const OnDisk now = on_disk(lives.journal());
        CHECK(now.bytes <= 8 * kMiB);
        CHECK(test::ask_once(daemon.address(), get("/healthz")).status == 200);
        answer = ask_until(daemon.address(), batch(sent, kRequest, kPadding), 202, 10s);
        REQUIRE(answer.status == 202);
        sent += kRequest;
      }
      CHECK(times_full == 3);
      CHECK(sent * kPadding >= 3 * kMiB);  // most of what it may use was used
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 30s));
      const auto until = test::Clock::now() + 5s;
      while (on_disk(lives.journal()).segments > 1 && test::Clock::now() < until) std::this_thread::sleep_for(5ms);
      CHECK(on_disk(lives.journal()).segments <= 1);
      const test::Ended ended = daemon.stop();
      CHECK_MESSAGE(ended.code == 0, ended.errors);
      REQUIRE(ended.report);
      CHECK(ended.report->accepted == sent);
      CHECK(ended.report->delivered == sent);
      CHECK(on_disk(lives.journal()).segments <= 1);
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

  TEST_CASE("journal: a clean exit delivers nothing again") {
    for (const std::string ack : {"queued", "written", "synced"}) {
      INFO("--ack ", ack);
      Lives lives({"--ack", ack, "-t", "20s"});
      test::Fates told;
      for (std::size_t life = 0; life < 5; ++life) {
        Daemon daemon(lives.flags(lives.file()));
        test::LoadPlan plan = one_producer(daemon, life * 200'000, (life + 1) * 200'000);
        plan.connections = 8;
        test::Load load(plan);
        REQUIRE(load.wait_acknowledged(2000, 20s));
        const test::Ended ended = daemon.stop();
        CHECK_MESSAGE(ended.code == 0, ended.errors);
        REQUIRE(ended.report);
        CHECK(ended.report->balanced());
        CHECK(ended.report->replayed == 0);
        CHECK(ended.report->kept == 0);
        test::add(told, load.fates());
        CHECK(ended.report->accepted == load.fates().acknowledged);
      }
      lives.drain(lives.file(), 0);
      const test::Disagreement found = test::compare(told, test::delivered_to_file(lives.sink(), told.of.size()));
      CHECK(found.missing == 0);
      CHECK(found.doubled == 0);
      CHECK(found.refused_but_there == 0);
      CHECK(found.unanswered_but_there == 0);
    }
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
