// A disk that fails under the running daemon (support/bad_disk.h; the full one is full_disk_test.cc): requests under
// way get 500, then 503 and red, the cause stands in the log once, what was acknowledged is delivered; and all by
// itself once the disk is back. Also: starts on a disk that fails. Release builds only: a sanitizer wants
// to be the first library, and so does the bad disk.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/bad_disk.h"
#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/environment.h"
#include "support/lives.h"
#include "support/load.h"
#include "support/paths.h"
#include "support/process.h"
#include "support/producer.h"
#include "support/say.h"

namespace {

using namespace std::chrono_literals;
using test::ask_once;
using test::ask_until;
using test::BadDisk;
using test::Client;
using test::Daemon;
using test::DiskCall;
using test::Flags;
using test::get;
using test::lines_with;
using test::Lives;
using test::Producer;

constexpr std::size_t kConnections = 8;         // of each of two loads
constexpr std::size_t kOfProducer = 100'000;    // numbers below it are the producer's
constexpr std::size_t kSingles = 1'000'000;     // below it, those that go one a request
constexpr std::size_t kLoadEvents = 3'000'000;  // and the rest go in batches

struct Fault {
  std::string name;
  DiskCall met_at;  // what the disk is asked for when it fails
  std::function<void(BadDisk&)> strike;
  std::string cause;  // as the system says it
};

std::vector<Fault> faults() {
  return {
      {"EIO on write", DiskCall::write, [](BadDisk& disk) { disk.fail({DiskCall::write}, EIO); }, "Input/output error"},
      {"EIO on fdatasync", DiskCall::sync, [](BadDisk& disk) { disk.fail({DiskCall::sync}, EIO); },
       "Input/output error"},
      {"writes cut short, and then no room", DiskCall::write, [](BadDisk& disk) { disk.tear_writes(ENOSPC); },
       "No space left on device"},
      {"remounted read-only", DiskCall::write,
       [](BadDisk& disk) {
         disk.fail({DiskCall::write, DiskCall::sync, DiskCall::allocate, DiskCall::resize, DiskCall::name}, EROFS);
       },
       "Read-only file system"},
  };
}

// Each fault under each answer that needs a disk.
template <class Test>
void each_fault(const Test& test) {
  for (const Fault& fault : faults()) {
    for (const std::string ack : {"written", "synced"}) {
      INFO(fault.name, ", --ack ", ack);
      test(fault, ack);
    }
  }
}

test::LoadPlan plan_for(const Daemon& daemon, test::Mode mode) {
  test::LoadPlan plan;
  plan.address = daemon.address();
  plan.mode = mode;
  plan.connections = kConnections;
  plan.batch = 5;
  plan.first_event = mode == test::Mode::single ? kOfProducer : kSingles;
  plan.most_events = mode == test::Mode::single ? kSingles : kLoadEvents;
  return plan;
}

void check_red(const Daemon& daemon) {
  CHECK(ask_until(daemon.address(), get("/readyz"), 503, 10s).status == 503);
  CHECK(ask_once(daemon.admin(), get("/readyz")).status == 503);
  CHECK(ask_once(daemon.address(), get("/healthz")).status == 200);
}

// Under load, the disk stops; when every connection waits for it, it fails. What the clients were told.
test::Fates strike_under_load(Daemon& daemon, BadDisk& disk, const Fault& fault, const std::string& ack) {
  test::Load singles(plan_for(daemon, test::Mode::single));
  test::Load batches(plan_for(daemon, test::Mode::ndjson));
  CHECK(singles.wait_acknowledged(500, 20s));
  CHECK(batches.wait_acknowledged(500, 20s));
  disk.hold({fault.met_at});
  CHECK(disk.wait_held(5s));
  CHECK(test::wait_status_number(daemon.admin(), "answers_owed", 2 * kConnections, 5s));
  CHECK(disk.struck() == 0);
  fault.strike(disk);
  check_red(daemon);
  CHECK(disk.struck() > 0);
  singles.stop();
  batches.stop();
  test::Fates told = singles.fates();
  test::add(told, batches.fates());
  CHECK(told.oddities.empty());
  for (const auto& [status, requests] : told.answers) {
    INFO(requests, " requests were answered ", status);
    CHECK((status == 202 || status == 500 || status == 503));
  }
  // A sync under `written` is nobody's: who waits behind it may be in time for the next failure, or meet it at the
  // door.
  const bool is_theirs = ack == "synced" || fault.met_at == DiskCall::write;
  CHECK(told.answers[500] <= 2 * kConnections);
  if (is_theirs) CHECK(told.answers[500] == 2 * kConnections);
  return told;
}

void check_balanced(const test::Ended& ended, const test::Fates& told) {
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  CHECK(ended.report->lost == 0);
  CHECK(ended.report->replayed == 0);
  CHECK(ended.report->accepted >= told.acknowledged);
  CHECK(ended.report->accepted <= told.acknowledged + told.unknown);
}

}  // namespace

TEST_SUITE("daemon.disk_fault") {
  TEST_CASE("disk fault: under way 500, then 503 and red, all acknowledged delivered; well again by itself") {
    each_fault([](const Fault& fault, const std::string& ack) {
      const Lives lives({"--ack", ack, "-t", "20s"});
      BadDisk disk(lives.state());
      Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
      Producer producer(daemon, 10, 0, kOfProducer);
      CHECK(producer.post_one().status == 202);
      test::Fates told = strike_under_load(daemon, disk, fault, ack);
      const test::Answer refused = producer.post_one();
      CHECK(refused.status == 503);
      CHECK(refused.header("retry-after") == "1");
      // Its sink has not failed: what was taken arrives while the disk is bad.
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
      check_red(daemon);

      disk.mend();
      CHECK(daemon.process().wait_line("the journal works again", 10s));  // and nobody has asked
      CHECK(ask_once(daemon.address(), get("/readyz")).status == 200);
      CHECK(ask_once(daemon.admin(), get("/readyz")).status == 200);
      CHECK(producer.post_one().status == 202);
      test::add(told, producer.told());
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 0);
      check_balanced(ended, told);
      CHECK(ended.report->kept == 0);
      CHECK(lines_with(ended.errors, "the journal has failed") == 1);
      CHECK(lines_with(ended.errors, fault.cause) == 1);
      CHECK(lines_with(ended.errors, "the journal works again") == 1);
      lives.drain(lives.sqlite(), 0);
      lives.check_sqlite(told);
    });
  }

  TEST_CASE("disk fault: stopped while the disk is bad and the sink hangs is 74; what was acknowledged comes next") {
    each_fault([](const Fault& fault, const std::string& ack) {
      const Lives lives({"--ack", ack, "-t", "300ms"});
      BadDisk disk(lives.state());
      test::Fates told;
      {
        Daemon daemon(lives.flags("null:?hang=true"), disk.environment());
        told = strike_under_load(daemon, disk, fault, ack);
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        CHECK(ended.code == 74);
        check_balanced(ended, told);
        CHECK(ended.report->kept == ended.report->accepted);
        CHECK(ended.report->kept == told.acknowledged);
        CHECK(ended.report->reason == "deadline");
      }
      lives.drain(lives.sqlite(), told.acknowledged, told.acknowledged + told.unknown);
      lives.check_sqlite(told);
    });
  }

  TEST_CASE("disk fault: stopped behind the fault while the sink hangs is 3; exactly what was kept comes next") {
    each_fault([](const Fault& fault, const std::string& ack) {
      const Lives lives({"--ack", ack, "-t", "300ms"});
      BadDisk disk(lives.state());
      test::Fates told;
      {
        Daemon daemon(lives.flags("null:?hang=true"), disk.environment());
        told = strike_under_load(daemon, disk, fault, ack);
        disk.mend();
        CHECK(daemon.process().wait_line("the journal works again", 10s));
        test::check_all_kept(daemon.stop(), told.acknowledged, "deadline");
      }
      lives.drain(lives.sqlite(), told.acknowledged);
      lives.check_sqlite(told);
    });
  }

  TEST_CASE("disk fault: stopped while the disk is bad and all is delivered is 74; nothing is doubled in SQLite") {
    each_fault([](const Fault& fault, const std::string& ack) {
      const Lives lives({"--ack", ack, "-t", "20s"});
      BadDisk disk(lives.state());
      test::Fates told;
      {
        Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
        told = strike_under_load(daemon, disk, fault, ack);
        CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        CHECK(ended.code == 74);
        check_balanced(ended, told);
        CHECK(ended.report->kept == 0);
        CHECK(ended.report->reason == "fault");
      }
      // Settles that were not written cost a redelivery, no more.
      lives.drain(lives.sqlite(), 0, told.acknowledged + told.unknown);
      lives.check_sqlite(told);
    });
  }

  TEST_CASE("disk fault: a disk that takes each write in parts only costs nobody anything") {
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      const Lives lives({"--ack", ack, "-t", "20s", "--journal-bytes", "2MiB"});
      BadDisk disk(lives.state());
      disk.cut_writes_short();
      Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
      Producer producer(daemon, 50, 100);
      for (int i = 0; i < 100; ++i) CHECK(producer.post_one().status == 202);
      CHECK(disk.struck() > 100);
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 0);
      check_balanced(ended, producer.told());
      CHECK(ended.report->delivered == 5000);
      CHECK(lines_with(ended.errors, "failed") == 0);
      lives.drain(lives.sqlite(), 0);
      lives.check_sqlite(producer.told());
    }
  }

  TEST_CASE("disk fault: one that takes new segments and nothing in them is asked, and named, more and more rarely") {
    // As a full file system is that cannot reserve room.
    const Lives lives({"--ack", "synced", "-t", "20s"});
    BadDisk disk(lives.state());
    Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
    test::Load load(plan_for(daemon, test::Mode::ndjson));
    CHECK(load.wait_acknowledged(500, 20s));
    disk.spare_writes_up_to(200);
    disk.fail({DiskCall::allocate}, EOPNOTSUPP);
    disk.fail({DiskCall::write}, ENOSPC);
    // Green again and again, for its tries succeed; each time the next request shows that it is not.
    const auto times_failed = [&] { return lines_with(daemon.process().errors(), "the journal has failed"); };
    const auto limit = test::Clock::now() + 20s;
    const auto began = test::Clock::now();
    while (times_failed() < 5 && test::Clock::now() < limit) std::this_thread::sleep_for(10ms);  // between looks
    CHECK(times_failed() >= 5);
    CHECK(test::Clock::now() - began >= 50ms + 100ms + 200ms + 400ms);
    disk.mend();
    CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
    load.stop();
    const test::Fates& told = load.fates();
    const test::Ended ended = daemon.stop();
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 0);
    check_balanced(ended, told);
    lives.drain(lives.sqlite(), 0);
    lives.check_sqlite(told);
  }

  TEST_CASE("disk fault: under written the sink is synced before anything on disk says that its event is finished") {
    struct Kind {
      std::string sink, file;  // and what it writes to
    };
    for (const Kind& kind : {Kind{"file:", "sink"}, Kind{"sqlite:", "sink-wal"}}) {
      INFO(kind.sink);
      const Lives lives({"--ack", "written", "-t", "20s"});
      BadDisk disk(lives.sink().parent_path());  // the sink is there, and the journal below it
      Daemon daemon(lives.flags(kind.sink + lives.sink().string()), disk.environment());
      REQUIRE(ask_once(daemon.address(), test::batch(0, 1)).status == 202);
      REQUIRE(test::wait_status_number(daemon.admin(), "delivered", 1, 10s));
      CHECK(daemon.stop().code == 0);
      const std::vector<std::string> diary = disk.diary();
      const auto delivered = std::ranges::find(diary.rbegin(), diary.rend(), "write " + kind.file).base();
      const auto synced = std::find(delivered, diary.end(), "sync " + kind.file);
      // The first that is written to such a file is its copy of the header.
      std::set<std::string> begun;
      const auto settled = std::ranges::find_if(diary, [&begun](const std::string& line) {
        return line.starts_with("write segment-") && line.ends_with(".settled") && !begun.insert(line).second;
      });
      const auto removed =
          std::ranges::find_if(diary, [](const std::string& line) { return line.starts_with("unlink segment-"); });
      CHECK(delivered != diary.begin());
      REQUIRE(synced != diary.end());
      REQUIRE(settled != diary.end());
      REQUIRE(removed != diary.end());
      CHECK(synced < settled);
      CHECK(synced < removed);
    }
  }

  TEST_CASE("disk fault: a sector of the journal that cannot be read costs its events, and nobody else's") {
    constexpr std::size_t kEvents = 3000;
    constexpr std::size_t kSector = 8192 + std::size_t{10} * 4096;
    for (const bool sealed : {true, false}) {
      INFO("sealed: ", sealed);
      const Lives lives({"--ack", "synced", "-t", "300ms"});
      {
        Daemon daemon(lives.flags("null:?hang=true"));
        for (std::size_t k = 0; k < kEvents; k += 100) {
          REQUIRE(ask_once(daemon.address(), test::batch(k, 100, 100)).status == 202);
        }
        daemon.signal_stop(sealed ? SIGTERM : SIGKILL);
        static_cast<void>(daemon.wait_end());
      }
      BadDisk disk(lives.journal() / "segment-000001");
      disk.make_unreadable(kSector, kSector + 4096);
      test::Process verify({test::program(SLUICECTL_PATH), "journal", "verify", "-d", lives.state().string()},
                           disk.environment());
      const auto exit = verify.wait_exit(20s);
      REQUIRE(exit);
      INFO("sluicectl said:\n", verify.output(), verify.errors());
      CHECK(exit->code == 1);
      CHECK(lines_with(verify.output(), "segment-000001") > 0);

      Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 20s));
      const std::size_t unreadable = test::status_number(daemon.admin(), "unreadable");
      CHECK(unreadable >= 4096);
      const test::Answer metrics = ask_once(daemon.admin(), get("/metrics"));
      CHECK(lines_with(metrics.body, fmt::format("sluice_journal_unreadable_bytes {}", unreadable)) == 1);
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(disk.struck() > 0);
      CHECK(ended.code == 4);
      REQUIRE(ended.report);
      CHECK(ended.report->balanced());
      CHECK(ended.report->lost > 10);
      CHECK(ended.report->lost < 40);  // of some 150 bytes each
      CHECK(ended.report->delivered + ended.report->lost == kEvents);
      CHECK(lines_with(ended.errors, "the journal is damaged segment=segment-000001") == 1);
      CHECK(std::filesystem::exists(lives.journal() / "segment-000001.damaged"));
      CHECK(std::ranges::count(test::delivered_to_sqlite(lives.sink(), kEvents), 1) ==
            static_cast<std::ptrdiff_t>(ended.report->delivered));
    }
  }

  TEST_CASE("disk fault: settles that cannot be written are told of once, hold nobody, and are written later") {
    for (const bool is_mended : {true, false}) {
      INFO((is_mended ? "well again before the stop" : "bad to the end"));
      const Lives lives({"--ack", "synced", "-t", "20s"});
      BadDisk disk(lives.journal() / "segment-000001.settled");  // and the draft beside it
      test::Fates told;
      {
        Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
        test::LoadPlan plan = plan_for(daemon, test::Mode::single);
        plan.connections = 1;
        test::Load load(plan);
        CHECK(load.wait_acknowledged(100, 20s));
        disk.fail({DiskCall::write}, EIO);
        CHECK(daemon.process().wait_line("settles cannot be written", 10s));
        const std::size_t struck = disk.struck();
        const auto limit = test::Clock::now() + 10s;
        while (disk.struck() < struck + 10 && test::Clock::now() < limit) std::this_thread::sleep_for(1ms);  // as below
        CHECK(disk.struck() >= struck + 10);
        CHECK(ask_once(daemon.address(), get("/readyz")).status == 200);
        load.stop();
        told = load.fates();
        CHECK(told.answers.size() == 1);  // 202 and nothing else
        CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
        if (is_mended) disk.mend();
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        check_balanced(ended, told);
        CHECK(ended.report->delivered == told.acknowledged);
        CHECK(ended.report->reason == (is_mended ? "drained" : "fault"));
        CHECK(ended.code == (is_mended ? 0 : 74));
        CHECK(lines_with(ended.errors, "settles cannot be written") == 1);
        CHECK(lines_with(ended.errors, "the journal has failed") == 0);
      }
      disk.mend();
      if (is_mended) {
        lives.drain(lives.sqlite(), 0);
      } else {
        lives.drain(lives.sqlite(), 1, told.acknowledged);
      }
      lives.check_sqlite(told);
    }
  }

  TEST_CASE("disk fault: a start on a disk that fails delivers the backlog, red; what that settles not comes again") {
    for (const Fault& fault : faults()) {
      INFO(fault.name);
      const Lives lives({"--ack", "synced"});
      BadDisk disk(lives.state());
      {
        Daemon daemon(lives.flags("null:?hang=true", {"-t", "100ms"}));
        test::feed(daemon, 100);
        test::check_all_kept(daemon.stop(), 100, "deadline");
      }
      fault.strike(disk);
      {
        Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
        check_red(daemon);
        CHECK(ask_once(daemon.address(), test::post("application/json", "{\"k\":100}")).status == 503);
        CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
        CHECK(disk.struck() > 0);
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        CHECK(ended.code == 74);
        REQUIRE(ended.report);
        CHECK(ended.report->balanced());
        CHECK(ended.report->replayed == 100);
        CHECK(ended.report->delivered == 100);
        CHECK(lines_with(ended.errors, "the journal has failed") == 1);
        CHECK(lines_with(ended.errors, "the journal has failed, begin segment-000002: " + fault.cause) == 1);
        CHECK(lines_with(ended.errors, lives.state().string()) >= 1);
      }
      disk.mend();
      lives.drain(lives.sqlite(), 0, 100);
      lives.check_sqlite(100);
    }
  }

  TEST_CASE("disk fault: a daemon that has started on a bad disk takes events as soon as it is mended") {
    for (const Fault& fault : faults()) {
      INFO(fault.name);
      const Lives lives({"--ack", "synced", "-t", "20s"});
      BadDisk disk(lives.state());
      fault.strike(disk);
      Daemon daemon(lives.flags(lives.sqlite()), disk.environment());  // nothing was there before
      check_red(daemon);
      disk.mend();
      CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
      test::feed(daemon, 100);
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
      CHECK(daemon.stop().code == 0);
      lives.drain(lives.sqlite(), 0);
      lives.check_sqlite(100);
    }
  }

  TEST_CASE("disk fault: a state directory and a sink on another machine's disk are named at the start, in one line") {
    constexpr std::uint32_t kNfs = 0x6969;
    const Lives lives({});
    BadDisk disk(lives.state().parent_path());
    for (const bool network : {false, true}) {
      if (network) disk.pretend_file_system(kNfs);
      Daemon daemon(lives.flags(lives.sqlite()), disk.environment());
      test::feed(daemon, 1);
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 0);
      CHECK(lines_with(ended.errors, " is on nfs") == (network ? 1 : 0));
      const std::string both = "the state directory " + lives.state().string() + " is on nfs, the sink's file " +
                               lives.sink().string() + " is on nfs; ";
      CHECK(lines_with(ended.errors, both) == (network ? 1 : 0));
    }
    test::Flags flags = lives.flags(lives.sqlite());
    flags.insert(flags.end(), {"--listen", "127.0.0.1:0", "--admin", "none", "--check-config"});
    const test::Ended checked = test::run_to_end(flags, disk.environment());
    CHECK(checked.code == 0);
    CHECK(lines_with(checked.errors, " is on nfs") == 1);
  }
}
