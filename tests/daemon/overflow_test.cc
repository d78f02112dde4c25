// More than memory holds, seen from outside: with a sink that hangs for good reason (a pipe that nobody reads) a
// million events are taken, memory stays within its bounds, and when the sink is back all of them come, in order, also
// while new ones keep coming. Then the disk's own bound: 429 at --journal-bytes, and room again as it drains.
// Measures memory, so release builds only.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/fd.h"
#include "support/fifo.h"
#include "support/lives.h"
#include "support/load.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::batch;
using test::Client;
using test::Daemon;
using test::get;
using test::kMiB;
using test::Lives;

constexpr std::size_t kSlack = 32 * kMiB;  // beyond the configured bytes

void check_growth(const test::Growth& growth, std::size_t queue_bytes, const std::string& when) {
  MESSAGE(when, ": grown by ", growth.bytes() >> 10U, " KiB of ", (queue_bytes + kSlack) >> 10U);
  CHECK(growth.bytes() <= queue_bytes + kSlack);
}

}  // namespace

TEST_SUITE("daemon.overflow") {
  TEST_CASE("overflow: a million events behind a window of 1000: memory bounded, all in order, new ones behind them") {
    constexpr std::size_t kOld = 1'000'000;
    constexpr std::size_t kQueueBytes = 16 * kMiB;
    for (const std::string ack : {"written", "queued"}) {
      INFO("--ack ", ack);
      const Lives lives({"--ack", ack, "--queue-events", "1000", "--queue-bytes", fmt::format("{}", kQueueBytes),
                         "--workers", "1", "-t", "20s"});
      test::Fifo sink(lives.sink());
      Daemon daemon(lives.flags(sink.sink()));
      const test::Growth growth(daemon);

      test::LoadPlan plan = test::one_producer(daemon, 0, kOld);
      plan.batch = 1000;
      test::Load old(plan);
      CHECK(old.fates(60s).acknowledged == kOld);
      const std::size_t in_pipe = kOld - test::status_number(daemon.admin(), "kept");
      CHECK(in_pipe <= 65536 / std::string_view("{\"k\":0}\n").size());  // what a pipe holds: it did hang
      CHECK(sink.size() == 0);
      check_growth(growth, kQueueBytes, "with a million accepted");

      plan = test::one_producer(daemon, kOld, 3 * kOld);
      plan.batch = 10;  // fewer than the sink takes
      test::Load fresh(plan);
      REQUIRE(fresh.wait_acknowledged(1000, 20s));
      sink.read();
      REQUIRE(sink.wait_size(kOld, 60s));
      fresh.stop();
      const test::Fates& told = fresh.fates();
      CHECK(told.refused == 0);
      CHECK(told.unknown == 0);
      CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 60s));
      check_growth(growth, kQueueBytes, "in the drain");
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->balanced());
      CHECK(ended.report->accepted == kOld + told.acknowledged);
      CHECK(ended.report->delivered == kOld + told.acknowledged);
      MESSAGE(told.acknowledged, " came while the million was brought back");
      CHECK(sink.finish().size() == kOld + told.acknowledged);
      CHECK(test::out_of_place(sink.finish()) == 0);
      CHECK(test::on_disk(lives.journal()).segments <= 1);
    }
  }

  TEST_CASE("overflow: a sink slower than its producers: the seam keeps each producer's order") {
    constexpr std::size_t kSecond = 500'000;  // the other producer's numbers
    const Lives lives({"--ack", "written", "--queue-events", "200", "--workers", "1", "--batch-events", "50"});
    Daemon daemon(lives.flags(lives.file(), {"-t", "20s"}));
    std::optional<test::Load> loads[2];
    loads[0].emplace(test::one_producer(daemon, 0, 30'000));
    loads[1].emplace(test::one_producer(daemon, kSecond, kSecond + 30'000));
    for (auto& load : loads) CHECK(load->fates(60s).acknowledged == 30'000);
    const test::Ended ended = daemon.stop();
    REQUIRE_MESSAGE(ended.report, ended.errors);
    CHECK(ended.report->balanced());
    CHECK(ended.report->lost == 0);
    if (ended.report->kept > 0) {  // a backlog stays where it is safe
      CHECK(lives.drained(lives.file()).report->replayed == ended.report->kept);
    }
    std::size_t next[2] = {0, kSecond};
    std::size_t out_of_order = 0;
    for (const std::size_t k : test::numbers_in(lives.sink())) {
      std::size_t& expected = next[k < kSecond ? 0 : 1];
      out_of_order += k == expected ? 0 : 1;
      expected = k + 1;
    }
    CHECK(out_of_order == 0);
    CHECK(next[0] == 30'000);
    CHECK(next[1] == kSecond + 30'000);
  }

  TEST_CASE("overflow: --journal-bytes reached is 429, and it takes again as it drains; finished segments are gone") {
    constexpr std::size_t kRequest = 100;
    constexpr std::size_t kPadding = 1000;
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      const Lives lives(
          {"--ack", ack, "--journal-bytes", "8MiB", "--queue-events", "1000", "--workers", "1", "-t", "20s"});
      test::Fifo sink(lives.sink());
      Daemon daemon(lives.flags(sink.sink()));
      Client client(daemon.address());
      std::size_t sent = 0;
      for (int round = 0; round < 5; ++round) {
        sink.hang();
        const std::size_t before = sent;
        Answer answer = client.ask(batch(sent, kRequest, kPadding));
        while (answer.status == 202) {
          sent += kRequest;
          answer = client.ask(batch(sent, kRequest, kPadding));
        }
        REQUIRE_MESSAGE(answer.status == 429, answer.body);
        CHECK(answer.header("retry-after") == "1");
        CHECK((sent - before) * kPadding >= 3 * kMiB);  // most of what it may use was used
        CHECK(test::on_disk(lives.journal()).bytes <= 8 * kMiB);
        CHECK(test::ask_once(daemon.address(), get("/healthz")).status == 200);

        sink.read();
        const auto until = test::Clock::now() + 10s;
        do answer = client.ask(batch(sent, kRequest, kPadding));
        while (answer.status == 429 && test::Clock::now() < until);
        REQUIRE(answer.status == 202);
        sent += kRequest;
        CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 30s));
        while (test::on_disk(lives.journal()).segments > 1 && test::Clock::now() < until)
          std::this_thread::sleep_for(5ms);
        CHECK(test::on_disk(lives.journal()).segments <= 1);
      }
      const test::Ended ended = daemon.stop();
      CHECK_MESSAGE(ended.code == 0, ended.errors);
      REQUIRE(ended.report);
      CHECK(ended.report->accepted == sent);
      CHECK(ended.report->delivered == sent);
      CHECK(sink.finish().size() == sent);
      CHECK(test::out_of_place(sink.finish()) == 0);
      CHECK(test::on_disk(lives.journal()).segments <= 1);
    }
  }

  TEST_CASE("overflow: clients that hold every connection leave the journal its files, and the log says so") {
    const Lives lives(
        {"--ack", "written", "--journal-bytes", "1MiB", "--workers", "1", "--batch-events", "10", "-t", "20s"});
    Daemon daemon(lives.flags("null:"), {}, test::Descriptors{100, 400});
    Client client(daemon.address());
    REQUIRE(client.ask(get("/healthz")).status == 200);
    std::vector<test::Fd> idle;
    for (int i = 0; i < 600; ++i) idle.push_back(test::connect_to(daemon.address(), SOCK_STREAM | SOCK_NONBLOCK));
    std::size_t taken = 0;
    const auto until = test::Clock::now() + 20s;
    while (taken < 5'000 && test::Clock::now() < until) {  // 5 MB through segments of 128 KiB
      const Answer answer = client.ask(batch(taken, 50, 1000));
      REQUIRE_MESSAGE((answer.status == 202 || answer.status == 429), answer.status, answer.body);
      taken += answer.status == 202 ? 50 : 0;
    }
    CHECK(taken == 5'000);
    CHECK(daemon.process().open_files().size() < 400);
    idle.clear();
    CHECK(test::ask_once(daemon.admin(), get("/readyz")).status == 200);
    const test::Ended ended = daemon.stop();
    CHECK_MESSAGE(ended.code == 0, ended.errors);
    CHECK(ended.errors.find("limited to 400 (ulimit -n), too few for --max-connections 1024") != std::string::npos);
    CHECK(ended.errors.find("has failed") == std::string::npos);
  }

  TEST_CASE("overflow: a journal that may need more files than the system allows starts, and both numbers are logged") {
    const Lives lives({"--journal-bytes", "100GiB"});
    Daemon daemon(lives.flags("null:"), {}, test::Descriptors{1024, 1024});
    CHECK(test::ask_once(daemon.address(), batch(0, 1, 10)).status == 202);
    const test::Ended ended = daemon.stop();
    CHECK_MESSAGE(ended.code == 0, ended.errors);
    CHECK(ended.errors.find("with --journal-bytes 100GiB the journal alone may need ") != std::string::npos);
    CHECK(ended.errors.find(" of 1024 open files (ulimit -n)") != std::string::npos);
  }
}
