// The stop under load: every event answered 202 stands in the sink exactly once, nothing that was refused does, and no
// answer that the daemon sent is lost. Also, as the suite `smoke`, one short round for the sanitizers' builds.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <random>
#include <string>

#include "support/daemon.h"
#include "support/delivered.h"
#include "support/load.h"

namespace {

using namespace std::chrono_literals;
using test::Mode;

struct Round {
  Mode mode = Mode::single;
  bool sqlite = false;
  std::size_t most_before_stop = 20'000;  // acknowledged events
  unsigned seed = 0;
};

const char* name_of(Mode mode) {
  switch (mode) {
    case Mode::single:
      return "single";
    case Mode::ndjson:
      return "ndjson";
    case Mode::pipelined:
      return "pipelined";
  }
  return "?";
}

// Starts, feeds, stops at a random moment (a number of acknowledged events, and then a random fraction of a
// millisecond), and holds against each other what the clients were told, what the daemon says and what the sink has.
void stop_in_the_middle(const Round& round) {
  const std::string what =
      fmt::format("mode {}, sink {}, seed {}", name_of(round.mode), round.sqlite ? "sqlite" : "file", round.seed);
  INFO(what);
  std::mt19937 random(round.seed);
  const std::size_t acknowledged = std::uniform_int_distribution<std::size_t>(1, round.most_before_stop)(random);
  const std::chrono::microseconds then(std::uniform_int_distribution<int>(0, 1000)(random));

  const test::TempDir dir;
  const auto sink = dir.path() / "sink";
  test::Daemon daemon(
      {"--sink", (round.sqlite ? "sqlite:" : "file:") + sink.string(), "--drain-timeout", "20s", "--workers", "4"});
  test::LoadPlan plan;
  plan.address = daemon.address();
  plan.mode = round.mode;
  if (round.mode == Mode::pipelined &&
      round.seed % 2 == 0) {  // slow readers: their answers wait in the daemon's kernel
    plan.depth = 256;
    plan.receive_bytes = 16384;
  }
  test::Load load(plan);
  REQUIRE(load.wait_acknowledged(acknowledged, 20s));
  std::this_thread::sleep_for(then);  // the moment is to be any
  const test::Ended ended = daemon.stop();
  const test::Fates& told = load.fates();

  const std::string oddity = told.oddities.empty() ? "" : told.oddities.front();
  CHECK_MESSAGE(told.oddities.empty(), oddity);
  INFO("acknowledged ", told.acknowledged, ", refused ", told.refused, ", unanswered ", told.unknown, ", resets ",
       told.resets, "; the daemon's last line: ", ended.last_line);
  CHECK(ended.code == 0);
  REQUIRE(ended.report);
  CHECK(ended.report->reason == "drained");
  CHECK(ended.report->balanced());
  CHECK(ended.report->accepted == ended.report->delivered);
  // Each 202 that was sent has been read: none is lost to a reset.
  CHECK(ended.report->accepted == told.acknowledged);
  CHECK(told.resets == 0);

  const auto delivered =
      round.sqlite ? test::delivered_to_sqlite(sink, told.of.size()) : test::delivered_to_file(sink, told.of.size());
  const test::Disagreement found = test::compare(told, delivered);
  CHECK(found.missing == 0);
  CHECK(found.doubled == 0);
  CHECK(found.refused_but_there == 0);
  CHECK(found.unanswered_but_there == 0);
  CHECK(found.unsent_but_there == 0);
}

void stop_fifty_times(Mode mode) {
  const unsigned first_seed = std::random_device{}();
  for (unsigned i = 0; i < 50; ++i) {
    Round round;
    round.mode = mode;
    round.sqlite = i % 5 == 0;
    round.seed = first_seed + i;
    stop_in_the_middle(round);
  }
}

}  // namespace

TEST_SUITE("daemon.stop") {
  TEST_CASE("stop: in the middle of a load of single events, all that was acknowledged is delivered, once") {
    stop_fifty_times(Mode::single);
  }
  TEST_CASE("stop: in the middle of a load of NDJSON batches, all that was acknowledged is delivered, once") {
    stop_fifty_times(Mode::ndjson);
  }
  TEST_CASE("stop: in the middle of a load of pipelined requests, all that was acknowledged is delivered, once") {
    stop_fifty_times(Mode::pipelined);
  }
}

TEST_SUITE("daemon.smoke") {
  TEST_CASE("smoke: a short load in each mode, stopped in its middle, is delivered whole") {
    for (const Mode mode : {Mode::single, Mode::ndjson, Mode::pipelined}) {
      for (const bool sqlite : {false, true}) {
        Round round;
        round.mode = mode;
        round.sqlite = sqlite;
        round.most_before_stop = 500;
        round.seed = std::random_device{}();
        stop_in_the_middle(round);
      }
    }
  }
}
