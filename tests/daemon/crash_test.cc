// kill -9 at any moment, and at each instant of the journal that has a name: whatever was acknowledged stands in SQLite
// once the next life has drained, exactly once, each request whole or absent, and nothing that was refused.
// SLUICE_CRASH_ROUNDS says how many rounds (100 if it does not), SLUICE_INSTANT_ROUNDS how many of each instant (2),
// SLUICE_CRASH_SEED repeats those that began with this seed.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/database.h"
#include "support/delivered.h"
#include "support/environment.h"
#include "support/instants.h"
#include "support/lives.h"
#include "support/load.h"
#include "support/producer.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::Flags;
using test::Mode;
using test::with;

constexpr std::size_t kSingles = 500'000;  // numbers below it go one a request
constexpr std::size_t kEvents = 1'000'000;
constexpr std::size_t kBatch = 20;

enum class Moment { load, replay, drain, instant, instant_of_start };

struct Kind {
  std::string name;
  Moment moment = Moment::load;
  std::string first_sink = "sqlite";
  Flags first_life, each_life;
  std::size_t most_before_kill = 5'000;  // acknowledged events of the batches
  // Of the instant: it ends itself at one of these. A start has to get ready.
  std::uint64_t first_pass = 1, passes = 1;
};

const Flags kSlowly{"--workers", "1", "--batch-events", "4"};

std::vector<Kind> kinds() {
  return {
      {"a normal sink", Moment::load, "sqlite", {}, {}, 20'000},
      {"a slow sink", Moment::load, "sqlite", kSlowly, {}},
      {"a failing sink", Moment::load, "null:?fail=1", {}, {}},
      {"a sink that hangs", Moment::load, "null:?hang=true", {}, {}},
      {"small segments", Moment::load, "sqlite", {}, {"--journal-bytes", "2MiB"}, 20'000},
      {"small segments and a slow sink", Moment::load, "sqlite", kSlowly, {"--journal-bytes", "2MiB"}, 10'000},
      {"backlog on disk", Moment::load, "sqlite", kSlowly, {"--queue-events", "500"}},
      {"killed in replay", Moment::replay, "null:?fail=1", {}, {}, 20'000},
      {"killed in replay, small window", Moment::replay, "null:?fail=1", {}, {"--queue-events", "500"}, 20'000},
      {"killed in the drain", Moment::drain, "sqlite", kSlowly, {}},
  };
}

// Where each instant is passed again and again. One event in 1000, a few a segment, is withheld by a trigger: it holds
// its segment until it is copied forward. None of them fails often enough for a dead letter before the end.
Kind kind_of(std::string_view instant) {
  const Flags small{"--journal-bytes", "2MiB", "--retry-min", "20s", "--retry-max", "20s"};
  if (instant == "at_recovery") {
    return {std::string(instant), Moment::instant_of_start, "null:?fail=1", {}, small};
  }
  Kind kind{std::string(instant), Moment::instant, "sqlite", {}, small};
  const bool is_rare = instant.ends_with("unlink") || instant == "after_copy";
  kind.first_pass = is_rare ? 1 : 5;
  kind.passes = is_rare ? 4 : 20;
  return kind;
}

test::LoadPlan plan_for(const std::string& address, Mode mode) {
  test::LoadPlan plan;
  plan.address = address;
  plan.mode = mode;
  plan.connections = 8;  // 16 of both modes together
  plan.batch = kBatch;
  plan.first_event = mode == Mode::single ? 0 : kSingles;
  plan.most_events = mode == Mode::single ? kSingles : kEvents;
  return plan;
}

// One round: a life under load, killed; perhaps more lives, killed; and one that drains.
class Round {
 public:
  Round(const Kind& kind, std::string ack, unsigned seed) : kind_(kind), ack_(std::move(ack)), random_(seed) {}

  void run() {
    if (kind_.moment == Moment::instant) {
      live_to_the_instant();
    } else {
      live_and_die();
    }
    if (kind_.moment == Moment::instant_of_start) die_at_the_start();
    if (kind_.moment == Moment::replay) {
      const int deaths = 1 + static_cast<int>(random_() % 3);
      for (int i = 0; i < deaths; ++i) die_in_replay();
    }
    drain();
    compare();
  }

 private:
  // The moment is to be any.
  void wait_a_little(std::chrono::microseconds at_most) {
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution<std::int64_t>(0, at_most.count())(random_)));
  }

  [[nodiscard]] std::filesystem::path database() const { return dir_.path() / "sink.db"; }

  [[nodiscard]] Flags flags(const std::string& sink) const {
    return with({"--state-dir", (dir_.path() / "state").string(), "--ack", ack_, "-t", "20s", "--sink",
                 sink == "sqlite" ? "sqlite:" + database().string() : sink},
                kind_.each_life);
  }

  void live_and_die() {
    Daemon daemon(with(flags(kind_.first_sink), kind_.first_life));
    test::Load singles(plan_for(daemon.address(), Mode::single));
    test::Load batches(plan_for(daemon.address(), Mode::ndjson));
    const auto acknowledged = std::uniform_int_distribution<std::size_t>(1, kind_.most_before_kill)(random_);
    REQUIRE(batches.wait_acknowledged(acknowledged, 20s));
    wait_a_little(2ms);
    if (kind_.moment == Moment::drain) {
      daemon.signal_stop();
      wait_a_little(20ms);
    }
    daemon.process().signal(SIGKILL);
    static_cast<void>(daemon.wait_end());
    remember(singles.fates());  // their end, so that nobody meets the next life at this address
    remember(batches.fates());
    CHECK(told_.acknowledged > 0);
  }

  void live_to_the_instant() {
    const std::uint64_t pass = kind_.first_pass + random_() % kind_.passes;
    Daemon daemon(with(flags("sqlite"), kind_.first_life), {end_at(pass)}, {}, SLUICED_AT_INSTANTS_PATH);
    test::Database(database().string())
        .run(
            "CREATE TRIGGER withhold BEFORE INSERT ON events WHEN json_extract(new.payload, '$.k') % 1000 = 7 "
            "BEGIN SELECT json('{'); END");
    test::Load singles(plan_for(daemon.address(), Mode::single));
    test::Load batches(plan_for(daemon.address(), Mode::ndjson));
    const test::Ended ended = daemon.wait_end(30s);
    CHECK_MESSAGE(ended.code == 128 + SIGKILL, ended.errors);
    remember(singles.fates());
    remember(batches.fates());
    test::Database(database().string()).run("DROP TRIGGER withhold");
  }

  void die_at_the_start() {
    const Flags command = with({test::program(SLUICED_AT_INSTANTS_PATH)},
                               with(flags("sqlite"), {"--listen", "127.0.0.1:0", "--admin", "none"}));
    test::Process process(command, {end_at(1)});
    const auto exit = process.wait_exit(20s);
    REQUIRE(exit);
    CHECK_MESSAGE(exit->code == 128 + SIGKILL, process.errors());
  }

  [[nodiscard]] std::string end_at(std::uint64_t pass) const {
    return fmt::format("{}={}:{}", test::kEndAtInstant, kind_.name, pass);
  }

  void remember(const test::Fates& fates) {
    test::add(told_, fates);
    const std::string oddity = told_.oddities.empty() ? "" : told_.oddities.front();
    CHECK_MESSAGE(told_.oddities.empty(), oddity);
    CHECK(told_.answers.count(500) == 0);
  }

  void die_in_replay() {
    Flags command{test::program(SLUICED_PATH)};
    command = with(command, with(flags("sqlite"), {"--listen", "127.0.0.1:0", "--admin", "none"}));
    test::Process process(command, {});
    if (random_() % 2 == 0) {
      const auto ready = process.wait_line("ready run=", 20s);
      REQUIRE_MESSAGE(ready, process.errors());
    }
    wait_a_little(20ms);
    process.signal(SIGKILL);
    const auto exit = process.wait_exit(20s);
    REQUIRE(exit);
    CHECK_MESSAGE(exit->code == 128 + SIGKILL, process.errors());
  }

  void drain() {
    Daemon daemon(flags("sqlite"));
    const bool finished = test::wait_status_number(daemon.admin(), "kept", 0, 20s);
    const test::Ended ended = daemon.stop();
    INFO("the last life said:\n", ended.errors);
    CHECK(finished);
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->balanced());
    CHECK(ended.report->accepted == ended.report->replayed);
    CHECK(ended.report->dead == 0);
    CHECK(ended.report->lost == 0);
    CHECK(ended.report->kept == 0);
  }

  void compare() const {
    const auto delivered = test::delivered_to_sqlite(database(), kEvents);
    const test::Disagreement found = test::compare(told_, delivered);
    INFO("acknowledged ", told_.acknowledged, ", refused ", told_.refused, ", unanswered ", told_.unknown);
    CHECK(found.missing == 0);
    CHECK(found.doubled == 0);
    CHECK(found.refused_but_there == 0);
    CHECK(found.unsent_but_there == 0);
    std::size_t in_part = 0;
    for (std::size_t first = kSingles; first < kEvents; first += kBatch) {
      std::size_t there = 0;
      for (std::size_t k = first; k < first + kBatch; ++k) there += delivered[k] > 0 ? 1 : 0;
      in_part += there != 0 && there != kBatch ? 1 : 0;
    }
    CHECK(in_part == 0);
  }

  const Kind& kind_;
  const std::string ack_;
  std::mt19937 random_;
  const test::TempDir dir_;
  test::Fates told_;
};

// What stands there takes of the disk, preallocated room included.
std::size_t disk_use(const std::filesystem::path& directory) {
  std::size_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    struct stat of {};
    if (entry.is_regular_file() && ::stat(entry.path().c_str(), &of) == 0) {
      bytes += static_cast<std::size_t>(of.st_blocks) * 512;
    }
  }
  return bytes;
}

// Of its descriptors, those of files below the directory.
std::size_t open_files(test::Process& process, const std::filesystem::path& below) {
  const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", process.pid()));
  return static_cast<std::size_t>(std::count_if(begin(all), end(all), [&](const auto& one) {
    std::error_code closed_meanwhile;
    return std::filesystem::read_symlink(one.path(), closed_meanwhile).string().starts_with(below.string());
  }));
}

}  // namespace

TEST_SUITE("daemon.crash") {
  TEST_CASE("crash: fifty lives, each killed after three events, take a little of the disk, and all is delivered") {
    constexpr int kLives = 50;
    const test::Lives lives({"--ack", "synced", "--journal-bytes", "8MiB", "-t", "20s"});
    std::optional<test::Producer> producer;
    std::size_t first_files = 0;
    for (int life = 0; life < kLives; ++life) {
      INFO("life ", life);
      Daemon daemon(lives.flags("null:?hang=true"));
      if (!producer) producer.emplace(daemon, 1, 0);
      for (int i = 0; i < 3; ++i) REQUIRE(producer->post_one_to(daemon).status == 202);
      const std::size_t used = disk_use(lives.state());
      CHECK(used <= 8 * test::kMiB);
      CHECK(used <= 2 * test::kMiB + static_cast<std::size_t>(life) * (std::size_t{96} << 10U));
      const std::size_t files = open_files(daemon.process(), lives.state());
      if (life == 0) first_files = files;
      CHECK(files <= first_files + 4 * static_cast<std::size_t>(life));
      daemon.process().signal(SIGKILL);
      static_cast<void>(daemon.wait_end());
    }
    lives.drain(lives.sqlite(), 3 * kLives);
    lives.check_sqlite(producer->told());
    CHECK(test::on_disk(lives.journal()).bytes == 0);
  }

  TEST_CASE("crash: killed at any moment, all that was acknowledged is delivered by the next life, exactly once") {
    const unsigned rounds = test::number_in_environment("SLUICE_CRASH_ROUNDS", 100);
    const unsigned first_seed = test::number_in_environment("SLUICE_CRASH_SEED", std::random_device{}());
    const std::vector<Kind> all = kinds();
    for (unsigned i = 0; i < rounds; ++i) {
      const Kind& kind = all[i / 2 % all.size()];
      const std::string ack = i % 2 == 0 ? "written" : "synced";
      const std::string what = fmt::format("round {} of first seed {}: {}, --ack {}", i, first_seed, kind.name, ack);
      INFO(what);
      Round(kind, ack, first_seed + i).run();
    }
  }
}

TEST_SUITE("daemon.instants") {
  TEST_CASE("crash: killed at any instant that has a name, all that was acknowledged is delivered by the next life") {
    const unsigned rounds = test::number_in_environment("SLUICE_INSTANT_ROUNDS", 2);
    const unsigned first_seed = test::number_in_environment("SLUICE_CRASH_SEED", std::random_device{}());
    for (const std::string_view instant : test::kInstantNames) {
      for (unsigned i = 0; i < rounds; ++i) {
        const Kind kind = kind_of(instant);
        const std::string ack = i % 2 == 0 ? "written" : "synced";
        const std::string what = fmt::format("{}, round {} of first seed {}, --ack {}", instant, i, first_seed, ack);
        INFO(what);
        Round(kind, ack, first_seed + i).run();
      }
    }
  }
}
