// A disk that is full, for real: a small file system of a test's own, for which it must be root. Under way 500, then
// 503 and red; green again once there is room, without a request; what was acknowledged is delivered, what was refused
// is not. Also: starts on such a disk, on a read-only one, and on one that is not there yet.
#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/lives.h"
#include "support/producer.h"
#include "support/say.h"
#include "support/small_disk.h"
#include "support/temp_dir.h"

namespace {

using namespace std::chrono_literals;
using test::ask_once;
using test::ask_until;
using test::cannot_mount;
using test::Daemon;
using test::get;
using test::kMiB;
using test::lines_with;
using test::Lives;
using test::Producer;
using test::SmallDisk;

void check_red(const Daemon& daemon) {
  CHECK(test::ask_once(daemon.address(), get("/readyz")).status == 503);
  CHECK(test::ask_once(daemon.admin(), get("/readyz")).status == 503);
  CHECK(test::ask_once(daemon.address(), get("/healthz")).status == 200);
}

// The stop of a life whose sink hung, then one that drains into SQLite, held against what the clients were told.
void check_kept_and_delivered(Daemon& daemon, const Lives& lives, const test::Fates& told) {
  const test::Ended ended = daemon.stop();
  INFO("it said:\n", ended.errors);
  CHECK(lines_with(ended.errors, "the journal has failed") == 1);
  CHECK(lines_with(ended.errors, "No space left on device") == 1);
  CHECK(ended.code == 3);
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  CHECK(ended.report->lost == 0);
  CHECK(ended.report->replayed == 0);
  CHECK(ended.report->kept >= told.acknowledged);
  CHECK(ended.report->kept <= told.acknowledged + told.unknown);
  lives.drain(lives.sqlite(), ended.report->kept);
  lives.check_sqlite(told);
}

}  // namespace

TEST_SUITE("daemon.full_disk") {
  TEST_CASE("full disk: red and 5xx while it is full, green again without a request, all acknowledged delivered") {
    if (cannot_mount()) return;
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      const SmallDisk disk(24 * kMiB, 10 * kMiB);
      const Lives lives({"--ack", ack, "-t", "300ms", "--journal-bytes", "64MiB", "--queue-events", "5000"},
                        disk.path());
      Daemon daemon(lives.flags("null:?hang=true"));
      Producer producer(daemon);
      const test::Answer refused = producer.post_until(503, 20s);
      CHECK(refused.status == 503);
      CHECK(refused.header("retry-after") == "1");
      CHECK(producer.told().acknowledged > 0);
      CHECK(producer.told().answers.count(429) == 0);
      CHECK(producer.told().answers.at(500) == 1);  // the one that was under way
      check_red(daemon);
      CHECK(daemon.process().wait_line("No space left", 5s));

      disk.drop_ballast();
      CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
      CHECK(producer.post_one().status == 202);
      check_kept_and_delivered(daemon, lives, producer.told());
    }
  }

  TEST_CASE("full disk: one that stays full for longer than any wait between two tries is still tried again") {
    if (cannot_mount()) return;
    const SmallDisk disk(64 * kMiB);
    const Lives lives({"--ack", "synced", "-t", "300ms", "--journal-bytes", "16MiB"}, disk.path());
    Daemon daemon(lives.flags("null:?hang=true"));
    Producer producer(daemon);
    for (int i = 0; i < 20; ++i) REQUIRE(producer.post_one().status == 202);
    disk.fill();
    CHECK(producer.post_until(503, 20s).status == 503);
    check_red(daemon);
    std::this_thread::sleep_for(6s);  // longer than the longest wait: the tries go on
    check_red(daemon);
    disk.empty_again();
    CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
    CHECK(producer.post_one().status == 202);
    check_kept_and_delivered(daemon, lives, producer.told());
  }

  TEST_CASE("full disk: at the spill of --ack queued, what the disk refuses is lost, counted, and the exit says 4") {
    if (cannot_mount()) return;
    const SmallDisk disk(24 * kMiB);
    const Lives lives({"--ack", "queued", "-t", "1s", "--journal-bytes", "128MiB", "--queue-events", "60000"},
                      disk.path());
    Daemon daemon(lives.flags("null:?hang=true"));
    Producer producer(daemon);
    for (int i = 0; i < 200; ++i) REQUIRE(producer.post_one().status == 202);  // 20 MB in memory
    disk.fill();
    test::Control control(1s);
    control.start();
    const test::Ended ended = daemon.stop();
    INFO("it said:\n", ended.errors);
    CHECK(ended.after - 1000ms <= 100ms + control.lateness());
    CHECK(ended.code == 4);
    REQUIRE(ended.report);
    CHECK(ended.report->balanced());
    CHECK(ended.report->accepted == 20'000);
    CHECK(ended.report->replayed == 0);
    CHECK(ended.report->lost == 20'000);
    disk.empty_again();
    lives.drain(lives.sqlite(), 0);
  }

  TEST_CASE("full disk: started on, with the backlog that fills it, it is drained, red, and then takes events again") {
    if (cannot_mount()) return;
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      // What was cut short is cut to what it holds, and then there is room: such a start is green at once.
      const bool cut_short = ack == "written";
      const SmallDisk disk(64 * kMiB);
      const Lives lives({"--ack", ack, "--journal-bytes", "32MiB"}, disk.path());
      std::optional<Producer> producer;
      {
        Daemon daemon(lives.flags("null:?hang=true", {"-t", "300ms"}));
        producer.emplace(daemon);
        for (int i = 0; i < 100; ++i) REQUIRE(producer->post_one().status == 202);
        disk.fill();
        // Half of the lives are cut short: then what was written last was never said to be synced.
        if (cut_short) daemon.signal_stop(SIGKILL);
        static_cast<void>(cut_short ? daemon.wait_end() : daemon.stop());
        disk.fill();
      }
      Daemon daemon(lives.flags(lives.file(), {"-t", "20s"}));
      if (cut_short) {
        CHECK(ask_once(daemon.address(), get("/readyz")).status == 200);
        CHECK(producer->post_one_to(daemon).status == 202);
      } else {
        check_red(daemon);
        CHECK(producer->post_one_to(daemon).status == 503);
      }
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 20s));
      CHECK(test::status_number(daemon.admin(), "delivered") == (cut_short ? 10'100 : 10'000));
      // The filler is still there: the room is what the backlog had.
      CHECK(ask_until(daemon.address(), get("/readyz"), 200, 20s).status == 200);
      CHECK(producer->post_one_to(daemon).status == 202);
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->balanced());
      CHECK(ended.report->replayed == 10'000);
      CHECK(lines_with(ended.errors, "the journal has failed, begin segment-") == (cut_short ? 0 : 1));
      CHECK(lines_with(ended.errors, "the journal works again") == (cut_short ? 0 : 1));
    }
  }

  TEST_CASE("full disk: one with less room than a segment is used to its end, drained, and used again") {
    if (cannot_mount()) return;
    const SmallDisk disk(24 * kMiB);
    const Lives lives({"--ack", "synced", "--journal-bytes", "1GiB", "--queue-events", "1000"}, disk.path());
    std::optional<Producer> producer;
    {
      Daemon daemon(lives.flags("null:?hang=true", {"-t", "300ms"}));
      CHECK(ask_once(daemon.address(), get("/readyz")).status == 200);
      producer.emplace(daemon);
      CHECK(producer->post_until(503, 20s).status == 503);
      CHECK(producer->told().acknowledged > 16'000);  // a thousand bytes each: two thirds of it at least
      check_red(daemon);
      CHECK(daemon.stop().code == 74);
    }
    Daemon daemon(lives.flags(lives.sqlite(), {"-t", "20s"}));
    CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 20s));
    CHECK(ask_until(daemon.address(), get("/readyz"), 200, 20s).status == 200);
    CHECK(producer->post_one_to(daemon).status == 202);
    CHECK(daemon.stop().code == 0);
    lives.check_sqlite(producer->told());
  }

  TEST_CASE(
      "read-only disk: the backlog is delivered and comes again; a remount makes it whole, and nobody asks it to") {
    if (cannot_mount()) return;
    const SmallDisk disk(64 * kMiB);
    const Lives lives({"--ack", "synced", "--journal-bytes", "8MiB"}, disk.path());
    {
      Daemon daemon(lives.flags("null:?hang=true", {"-t", "100ms"}));
      test::feed(daemon, 100);
      test::check_all_kept(daemon.stop(), 100, "deadline");
    }
    disk.make_read_only();
    {
      Daemon daemon(lives.flags(lives.sqlite()));
      check_red(daemon);
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 74);
      REQUIRE(ended.report);
      CHECK(ended.report->replayed == 100);
      CHECK(ended.report->delivered == 100);
      CHECK(ended.report->balanced());
      CHECK(lines_with(ended.errors, "last-exit.json") == 1);  // a warning, and no more
      CHECK(lines_with(ended.errors, "comes once more at the next start") == 1);
    }
    Daemon daemon(lives.flags(lives.sqlite()));
    check_red(daemon);
    // Nobody else may have it meanwhile, though no lock file can be written.
    const test::Ended second = test::run_to_end(lives.flags("null:", {"--listen", "127.0.0.1:0", "--admin", "none"}));
    CHECK(second.code == 69);
    CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
    disk.make_writable();
    CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
    CHECK(ask_once(daemon.address(), test::post("application/json", "{\"k\":100}")).status == 202);
    CHECK(daemon.stop().code == 0);
    lives.drain(lives.sqlite(), 0);
    lives.check_sqlite(101);
  }

  TEST_CASE(
      "read-only disk: a state directory that cannot be made is red and not the end, and is made when it can be") {
    if (cannot_mount()) return;
    const SmallDisk disk(64 * kMiB);
    const Lives lives({"--ack", "synced", "--journal-bytes", "8MiB"}, disk.path() / "below");
    disk.make_read_only();
    Daemon daemon(lives.flags(lives.sqlite()));
    check_red(daemon);
    CHECK(test::ask_once(daemon.address(), test::post("application/json", "1")).status == 503);
    CHECK(lines_with(daemon.process().errors(), "Read-only file system") >= 1);
    disk.make_writable();
    CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
    test::feed(daemon, 100);
    CHECK(daemon.stop().code == 0);
    lives.check_sqlite(100);
  }

  TEST_CASE("disk that comes late: its backlog is taken over when it is there, and counted") {
    if (cannot_mount()) return;
    const test::TempDir dir;
    const auto link = dir.path() / "mount";
    const Lives lives({"--ack", "synced", "--journal-bytes", "8MiB"}, link);
    std::filesystem::create_directory(dir.path() / "disk");
    std::filesystem::create_directory_symlink(dir.path() / "disk", link);
    {
      Daemon daemon(lives.flags("null:?hang=true", {"-t", "100ms"}));
      test::feed(daemon, 100);
      test::check_all_kept(daemon.stop(), 100, "deadline");
    }
    std::filesystem::rename(dir.path() / "disk", dir.path() / "away");
    Daemon daemon(lives.flags(lives.sqlite()));
    check_red(daemon);
    std::filesystem::rename(dir.path() / "away", dir.path() / "disk");
    CHECK(ask_until(daemon.address(), get("/readyz"), 200, 10s).status == 200);
    CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->replayed == 100);
    CHECK(ended.report->delivered == 100);
    lives.check_sqlite(100);
  }
}
