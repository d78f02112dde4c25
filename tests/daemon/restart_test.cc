// What the next life finds: a backlog far larger than memory does not delay READY, nor a stop; a clean exit delivers
// nothing again, a deadline only what was in workers' hands, kill -9 besides only what was settled just before.
// Measures time and memory, and writes 5 GiB; release builds only.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/fifo.h"
#include "support/lives.h"
#include "support/load.h"
#include "support/say.h"

namespace {

using namespace std::chrono_literals;
using test::Clock;
using test::Daemon;
using test::Descriptors;
using test::kMiB;
using test::Lives;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kGiB = 1024 * kMiB;
constexpr std::size_t kSlack = 32 * kMiB;  // beyond the configured bytes
constexpr auto kReady = 1s;

void check_growth(const test::Growth& growth, std::size_t queue_bytes, const std::string& when) {
  MESSAGE(when, ": grown by ", growth.bytes() >> 10U, " KiB of ", (queue_bytes + kSlack) >> 10U);
  CHECK(growth.bytes() <= queue_bytes + kSlack);
}

// How often each number up to `events` stands in there; throws on any other.
std::vector<std::size_t> times(const std::vector<std::size_t>& numbers, std::size_t events) {
  std::vector<std::size_t> all(events);
  for (const std::size_t k : numbers) ++all.at(k);
  return all;
}

// How long a file was, again and again, until told to stop: what had been appended at any moment before.
class SizeOverTime {
 public:
  explicit SizeOverTime(std::filesystem::path file) : file_(std::move(file)) {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::error_code not_there_yet;
        const auto now = Clock::now();
        const auto size = std::filesystem::file_size(file_, not_there_yet);
        if (!not_there_yet) samples_.push_back({now, size});
        std::this_thread::sleep_for(1ms);  // between looks
      }
    });
  }
  // At that moment or a little before.
  [[nodiscard]] std::uintmax_t at(Clock::time_point when) {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
    std::uintmax_t size = 0;
    for (const Sample& sample : samples_) size = sample.when <= when ? sample.size : size;
    return size;
  }

 private:
  struct Sample {
    Clock::time_point when;
    std::uintmax_t size;
  };
  const std::filesystem::path file_;
  std::vector<Sample> samples_;  // the thread's until it has ended
  std::jthread thread_;
};

std::size_t lines_behind(const std::filesystem::path& path, std::uintmax_t offset) {
  std::ifstream file(path);
  file.seekg(static_cast<std::streamoff>(offset));
  std::size_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  return lines;
}

}  // namespace

TEST_SUITE("daemon.restart") {
  TEST_CASE("restart: 5 GiB of backlog: ready within a second, memory bounded, a stop obeyed at once, all of it kept") {
    constexpr std::size_t kEvents = 20'480;  // of 256 KiB
    constexpr std::size_t kQueueBytes = 16 * kMiB;
    const Lives lives({"--ack", "written", "--journal-bytes", "8GiB", "--queue-bytes", fmt::format("{}", kQueueBytes)});
    {
      // Its segments are more than a shell's limit of open files: it is raised.
      Daemon daemon(lives.flags("null:?hang=true", {"-t", "100ms"}), {}, Descriptors{128, 4096});
      const test::Growth growth(daemon);
      test::LoadPlan plan;
      plan.address = daemon.address();
      plan.connections = 2;
      plan.most_events = kEvents;
      plan.padding = 256 * kKiB - 100;
      const auto began = Clock::now();
      test::Load load(plan);
      CHECK(load.fates(300s).acknowledged == kEvents);
      MESSAGE("written in ", std::chrono::duration<double>(Clock::now() - began).count(), " s");
      check_growth(growth, kQueueBytes, "with 5 GiB accepted");
      CHECK(test::on_disk(lives.journal()).bytes > 5 * kGiB - 10 * kMiB);
      CHECK(2 * test::on_disk(lives.journal()).segments > 128);
      const test::Ended ended = daemon.stop();
      CHECK_MESSAGE(ended.code == 3, ended.errors);
      REQUIRE(ended.report);
      CHECK(ended.report->kept == kEvents);
    }

    std::size_t left = kEvents;
    const std::string slow = "null:?delay=10ms";
    const auto check_start = [&](Daemon& daemon) {
      MESSAGE("ready after ", daemon.start_took().count(), " ms");
      CHECK(daemon.start_took() <= kReady);
    };
    {
      Daemon daemon(lives.flags(slow, {"-t", "20s"}));
      check_start(daemon);
      const test::Growth growth(daemon);
      CHECK(test::status_number(daemon.admin(), "replayed") == left);
      const auto until = Clock::now() + 20s;
      while (test::status_number(daemon.admin(), "delivered") < 1000 && Clock::now() < until) std::this_thread::yield();
      check_growth(growth, kQueueBytes, "in replay");
      const test::Ended ended = daemon.stop();
      INFO("it said:\n", ended.errors);
      MESSAGE("stopped after ", ended.after);
      CHECK(ended.after <= 1s);  // the window, and not the backlog
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->reason == "drained");
      CHECK(ended.report->balanced());
      CHECK(ended.report->replayed == left);
      CHECK(ended.report->delivered >= 1000);
      CHECK(ended.report->kept > kEvents / 2);
      left = ended.report->kept;
    }
    std::size_t delivered = 0;
    {
      Daemon daemon(lives.flags(slow));
      check_start(daemon);
      CHECK(test::status_number(daemon.admin(), "replayed") == left);
      const auto until = Clock::now() + 20s;
      while (delivered < 500 && Clock::now() < until) delivered = test::status_number(daemon.admin(), "delivered");
      daemon.process().signal(SIGKILL);
      static_cast<void>(daemon.wait_end());
    }
    {
      Daemon daemon(lives.flags(slow, {"-t", "20s"}));
      check_start(daemon);
      const test::Ended ended = daemon.stop();  // before it has done much
      INFO("it said:\n", ended.errors);
      CHECK(ended.after <= 1s);
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->balanced());
      CHECK(ended.report->replayed <= left);
      CHECK(ended.report->replayed > left - delivered - 500);  // at most what came between the look and the kill
    }
  }

  TEST_CASE("restart: the backlog comes back in order, and what is new behind it") {
    constexpr std::size_t kOld = 200'000;
    const Lives lives({"--ack", "written", "--queue-events", "1000", "--workers", "1"});
    {
      Daemon daemon(lives.flags("null:?hang=true", {"-t", "100ms"}));
      test::Load load(test::one_producer(daemon, 0, kOld));
      CHECK(load.fates(60s).acknowledged == kOld);
      CHECK(daemon.stop().code == 3);
    }
    Daemon daemon(lives.flags(lives.file(), {"-t", "20s"}));
    CHECK(daemon.start_took() <= kReady);
    test::Load load(test::one_producer(daemon, kOld, 2'000'000));  // while the backlog comes back
    REQUIRE(load.wait_acknowledged(20'000, 20s));
    CHECK(test::status_number(daemon.admin(), "replayed") == kOld);
    load.stop();
    const test::Fates& told = load.fates();
    CHECK(told.refused == 0);
    CHECK(told.unknown == 0);
    CHECK(test::wait_status_number(daemon.admin(), "kept", 0, 60s));
    const test::Ended ended = daemon.stop();
    CHECK_MESSAGE(ended.code == 0, ended.errors);
    REQUIRE(ended.report);
    CHECK(ended.report->balanced());
    CHECK(ended.report->accepted == kOld + told.acknowledged);
    const std::vector<std::size_t> numbers = test::numbers_in(lives.sink());
    CHECK(numbers.size() == kOld + told.acknowledged);
    CHECK(test::out_of_place(numbers) == 0);
  }

  TEST_CASE("restart: a clean exit delivers nothing again") {
    for (const std::string ack : {"queued", "written", "synced"}) {
      INFO("--ack ", ack);
      const Lives lives({"--ack", ack, "-t", "20s"});
      test::Fates told;
      for (std::size_t life = 0; life < 5; ++life) {
        Daemon daemon(lives.flags(lives.file()));
        test::LoadPlan plan = test::one_producer(daemon, life * 200'000, (life + 1) * 200'000);
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
      CHECK(lives.drained(lives.file()).report->replayed == 0);
      const test::Disagreement found = test::compare(told, test::delivered_to_file(lives.sink(), told.of.size()));
      CHECK(found.missing == 0);
      CHECK(found.doubled == 0);
      CHECK(found.refused_but_there == 0);
      CHECK(found.unanswered_but_there == 0);
    }
  }

  TEST_CASE("restart: an exit at the deadline delivers again only what was in a worker's hands, or was not synced") {
    constexpr std::size_t kWorkers = 2;
    constexpr std::size_t kBatch = 200;
    constexpr auto kUnsynced = 300ms;
    for (const std::string ack : {"queued", "written", "synced"}) {
      INFO("--ack ", ack);
      const Lives lives(
          {"--ack", ack, "--workers", fmt::format("{}", kWorkers), "--batch-events", fmt::format("{}", kBatch)});
      test::Fifo sink(lives.sink());
      std::size_t accepted = 0;
      std::size_t kept = 0;
      std::size_t synced_by = 0;  // so many were delivered kUnsynced before it hung
      {
        Daemon daemon(lives.flags(sink.sink(), {"-t", "300ms"}));
        test::LoadPlan plan = test::one_producer(daemon, 0, 1'000'000);
        plan.padding = 100;  // a batch is written in several pieces, so that it hangs in the middle of one
        test::Load load(plan);
        sink.read();
        REQUIRE(sink.wait_size(20'000, 20s));
        // Under `written` a worker that hangs cannot have its sink synced, which it does every 50 ms where that is
        // quick.
        synced_by = sink.size();
        std::this_thread::sleep_for(kUnsynced);
        sink.hang();
        REQUIRE(load.wait_acknowledged(sink.size() + 20'000, 20s));
        load.stop();
        accepted = load.fates().acknowledged;
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        CHECK(ended.code == 3);
        REQUIRE(ended.report);
        CHECK(ended.report->balanced());
        CHECK(ended.report->accepted == accepted);
        CHECK(ended.report->lost == 0);
        kept = ended.report->kept;
        CHECK(kept > 0);
      }
      sink.read();
      const test::Ended ended = lives.drained(sink.sink());
      REQUIRE(ended.report);
      const std::size_t unsynced = ack == "written" ? accepted - kept - std::min(synced_by, accepted - kept) : 0;
      CHECK(ended.report->replayed >= kept);
      CHECK(ended.report->replayed <= kept + unsynced);
      CHECK(ended.report->delivered == ended.report->replayed);
      const std::vector<std::size_t> found = times(sink.finish(), accepted);
      CHECK(std::ranges::count(found, 0U) == 0);
      const auto doubled = std::ranges::count_if(found, [](std::size_t n) { return n > 1; });
      MESSAGE(doubled, " of ", accepted, " came twice");
      CHECK(doubled <= static_cast<std::ptrdiff_t>(unsynced + kWorkers * kBatch));
    }
  }

  TEST_CASE("restart: after kill -9 a file has twice at most what was settled just before and what was in hand") {
    constexpr std::size_t kWorkers = 2;
    constexpr std::size_t kBatch = 100;
    constexpr auto kMargin = 100ms;  // the committer may be in a commit, and a machine elsewhere
    for (const std::string ack : {"written", "synced"}) {
      // Under `written` the sink is synced first, which on this disk takes no time.
      const auto settled_within = ack == "written" ? 100ms : 50ms;
      for (int round = 0; round < 2; ++round) {
        INFO("--ack ", ack, ", round ", round);
        const Lives lives({"--ack", ack, "--workers", fmt::format("{}", kWorkers), "--batch-events",
                           fmt::format("{}", kBatch), "-t", "20s"},
                          {}, test::quickest_disk());
        SizeOverTime sizes(lives.sink());
        test::Fates told;
        Clock::time_point killed;
        {
          Daemon daemon(lives.flags(lives.file()));
          test::LoadPlan plan = test::one_producer(daemon, 0, 2'000'000);
          plan.connections = 8;
          test::Load load(plan);
          REQUIRE(load.wait_acknowledged(1000, 20s));
          // About a second's worth of events, so that most are settled and some are not.
          std::this_thread::sleep_for(900ms + round * 37ms);
          killed = Clock::now();
          daemon.process().signal(SIGKILL);
          static_cast<void>(daemon.wait_end());
          told = load.fates();
        }
        const auto settled_by = sizes.at(killed - settled_within - kMargin);
        const std::size_t late = lines_behind(lives.sink(), settled_by);
        const std::size_t before = lines_behind(lives.sink(), 0) - late;
        CHECK(lives.drained(lives.file()).code == 0);
        const test::Disagreement found = test::compare(told, test::delivered_to_file(lives.sink(), told.of.size()));
        MESSAGE(found.doubled, " came twice; ", late, " had come within ", settled_within + kMargin,
                " before the kill, ", before, " earlier");
        CHECK(found.missing == 0);
        CHECK(found.refused_but_there == 0);
        CHECK(before > 2 * late);
        CHECK(found.doubled <= late + kWorkers * kBatch);
      }
    }
  }
}
