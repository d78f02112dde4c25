// A disk that is full, for real: a small file system of a test's own, for which it must be root. Under way 500, then
// 503 and red; green again once there is room, without a request; what was acknowledged is delivered, what was refused
// is not.
#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/lives.h"
#include "support/producer.h"
#include "support/say.h"
#include "support/small_disk.h"

namespace {

using namespace std::chrono_literals;
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
}
