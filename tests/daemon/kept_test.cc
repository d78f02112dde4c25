// The deadline with a journal behind it, and what its sinks and disks do meanwhile: sinks that answer just before it,
// at it and just behind it, a disk that refuses or does not answer when what is in memory is to be written down. Each
// event is delivered, kept or lost, one of them, and the report says which. Measures time, so it runs alone; a round in
// which a control process (control.h) is as late is run again.
#include <doctest/doctest.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/bad_disk.h"
#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/database.h"
#include "support/delivered.h"
#include "support/lives.h"
#include "support/say.h"
#include "support/small_disk.h"

namespace {

using namespace std::chrono_literals;
using test::BadDisk;
using test::Daemon;
using test::DiskCall;
using test::feed;
using test::kMiB;
using test::Lives;
using test::milliseconds;
using test::stop_with_deadline;
using test::Stopped;

constexpr milliseconds kMostLate = 100ms;  // what the backstop may add

std::size_t rows_in(const std::filesystem::path& database) { return test::sqlite_column(database, "id").size(); }

// What one life has left to the next.
void check_account(const test::Ended& ended, std::size_t events) {
  INFO("it said:\n", ended.errors);
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  CHECK(ended.report->accepted == events);
  CHECK(ended.report->dead == 0);
  CHECK(ended.report->lost == 0);
  CHECK(ended.report->replayed == 0);
  CHECK(ended.code == (ended.report->reason == "drained" ? 0 : 3));
}

}  // namespace

TEST_SUITE("daemon.kept") {
  TEST_CASE("kept: sinks that answer within milliseconds of the deadline: each event is delivered or kept, once") {
    constexpr std::size_t kEvents = 500;
    constexpr std::size_t kWorkers = 8;
    const unsigned seed = std::random_device{}();
    INFO("seed ", seed);
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> microseconds(-5000, 5000);
    std::size_t delivered = 0;
    std::size_t kept = 0;
    for (const std::string ack : {"queued", "written", "synced"}) {
      for (int round = 0; round < 10; ++round) {
        INFO("--ack ", ack, ", round ", round);
        // Each worker gets an event now; the sinks answer 250 ms later, and that is when the deadline is, ± 5 ms.
        const Lives lives({"--ack", ack, "-t", "150ms", "--workers", "8", "--batch-events", "1"});
        std::size_t left = 0;
        {
          Daemon daemon(lives.flags("null:?delay=250ms"));
          feed(daemon, kEvents);
          const auto fed = test::Clock::now();
          std::this_thread::sleep_until(fed + 100ms + std::chrono::microseconds(microseconds(random)));
          const auto [late, ended] = stop_with_deadline(daemon, 150ms);
          check_account(ended, kEvents);
          CHECK(ended.report->delivered <= 2 * kWorkers);  // who answered in time may have taken one more
          CHECK(late.daemon <= kMostLate + late.control);
          left = ended.report->kept;
          delivered += ended.report->delivered;
          kept += left;
        }
        lives.drain(lives.sqlite(), left);
        CHECK(rows_in(lives.sink()) == left);
      }
    }
    MESSAGE("at the deadline ± 5 ms: ", delivered, " delivered, ", kept, " kept");
  }

  TEST_CASE("kept: a database that is free again around the deadline has each event once after the next start") {
    constexpr std::size_t kEvents = 2000;
    constexpr std::size_t kInHands = 2 * 100;  // workers and their batches
    const unsigned seed = std::random_device{}();
    INFO("seed ", seed);
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> microseconds(-15'000, 15'000);
    std::size_t delivered = 0;
    for (const std::string ack : {"queued", "written", "synced"}) {
      for (int round = 0; round < 8; ++round) {
        INFO("--ack ", ack, ", round ", round);
        const Lives lives({"--ack", ack, "-t", "200ms", "--workers", "2", "--batch-events", "100"});
        std::size_t left = 0;
        {
          Daemon daemon(lives.flags(lives.sqlite()));
          std::optional<test::Database> lock(lives.sink());
          lock->run("BEGIN IMMEDIATE");  // as another program's transaction would
          feed(daemon, kEvents);
          test::Control control(200ms);
          control.start();
          daemon.signal_stop();
          std::this_thread::sleep_for(200ms + std::chrono::microseconds(microseconds(random)));
          lock.reset();
          const test::Ended ended = daemon.wait_end();
          check_account(ended, kEvents);
          CHECK(ended.after - 200ms <= kMostLate + control.lateness());
          left = ended.report->kept;
          delivered += ended.report->delivered;
          // A batch that the deadline took from its worker may have been committed all the same; none that was counted
          // is missing.
          const std::size_t rows = rows_in(lives.sink());
          CHECK(rows >= ended.report->delivered);
          CHECK(rows <= ended.report->delivered + kInHands);
        }
        lives.drain(lives.sqlite(), left);
        lives.check_sqlite(kEvents);
      }
    }
    MESSAGE("with the database free at the deadline ± 15 ms: ", delivered, " delivered in time");
  }

  TEST_CASE(
      "kept: --ack queued and a disk that fails at the spill: gone in time, exit 4, and lost is what is missing") {
    constexpr std::size_t kEvents = 60'000;
    struct Case {
      std::string name;
      std::function<void(BadDisk&)> strike;
    };
    const std::vector<Case> cases{
        {"EIO on write", [](BadDisk& disk) { disk.fail({DiskCall::write}, EIO); }},
        {"EIO on fdatasync", [](BadDisk& disk) { disk.fail({DiskCall::sync}, EIO); }},
        {"writes cut short, and then no room", [](BadDisk& disk) { disk.tear_writes(ENOSPC); }},
        {"EIO on what is larger than a header",
         [](BadDisk& disk) {
           disk.spare_writes_up_to(200);
           disk.fail({DiskCall::write}, EIO);
         }},
        {"a disk that does not answer",
         [](BadDisk& disk) {
           disk.hold({DiskCall::write, DiskCall::sync});
         }},
    };
    for (const auto& [name, strike] : cases) {
      for (const bool hurried : {false, true}) {
        INFO(name, hurried ? ", a second signal" : ", the deadline");
        std::optional<Lives> lives;
        std::optional<test::Ended> ended;
        const auto late = test::lateness_of(
            [&] {
              lives.emplace(test::Flags{"--ack", "queued", "-t", hurried ? "30s" : "500ms"});
              BadDisk disk(lives->journal());
              Daemon daemon(lives->flags("null:?hang=true"), disk.environment());
              feed(daemon, kEvents);
              strike(disk);
              // 2 ms for each MiB that has no record; 60,000 events are less than 16 MiB.
              const milliseconds allowed = hurried ? 132ms : 500ms;
              if (hurried) {
                daemon.signal_stop();
                REQUIRE(daemon.process().wait_exit(100ms) == std::nullopt);  // it waits for its sink
              }
              Stopped stopped = stop_with_deadline(daemon, allowed);
              ended = std::move(stopped.ended);
              return stopped.late;
            },
            kMostLate);
        CHECK(late <= kMostLate);
        INFO("it said:\n", ended->errors);
        CHECK(ended->code == 4);
        REQUIRE(ended->report);
        CHECK(ended->report->balanced());
        CHECK(ended->report->accepted == kEvents);
        CHECK(ended->report->delivered == 0);
        CHECK(ended->report->replayed == 0);
        CHECK(ended->report->lost == kEvents);  // none was on that disk before
        lives->drain(lives->sqlite(), 0);
        CHECK(rows_in(lives->sink()) == 0);
      }
    }
  }

  TEST_CASE("kept: a disk that does not answer holds no stop; the log says who waits for it, and all is kept") {
    constexpr std::size_t kEvents = 60'000;
    constexpr std::size_t kWaiting = 8;
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      std::optional<Lives> lives;
      std::optional<test::Ended> ended;
      const auto late = test::lateness_of(
          [&] {
            lives.emplace(test::Flags{"--ack", ack, "-t", "500ms"});
            BadDisk disk(lives->journal());
            Daemon daemon(lives->flags("null:?hang=true"), disk.environment());
            feed(daemon, kEvents);
            disk.hold({DiskCall::write});
            std::vector<test::Client> clients;
            for (std::size_t i = 0; i < kWaiting; ++i) {
              clients.emplace_back(daemon.address());
              REQUIRE(clients.back().send(test::batch(kEvents + i, 1)));
            }
            CHECK(test::wait_status_number(daemon.admin(), "answers_owed", kWaiting, 5s));
            Stopped stopped = stop_with_deadline(daemon, 500ms);
            ended = std::move(stopped.ended);
            return stopped.late;
          },
          kMostLate);
      CHECK(late <= kMostLate);
      INFO("it said:\n", ended->errors);
      CHECK(ended->errors.find(fmt::format("answers={0} with_committer={0}\n", kWaiting)) != std::string::npos);
      test::check_all_kept(*ended, kEvents, "deadline");
      CHECK(ended->report->replayed == 0);
      lives->drain(lives->sqlite(), kEvents);
      lives->check_sqlite(kEvents);
    }
  }
}
