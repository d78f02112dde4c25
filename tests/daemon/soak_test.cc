// The soak: load, and every few seconds something that goes wrong, by seed: the process stops, is killed or frozen, its
// disk is full, its sink's disk fails, its database is locked; and often it ends in the middle of that. In rounds. In
// the first half of a round life follows on life; the second half is one life that nothing ends, whose memory and
// descriptors are at its end what they were at its start. Then all is drained, and ledger and sink must agree.
//
// SLUICE_SOAK_SECONDS says how long (20 s if it does not), SLUICE_SOAK_SEED repeats a run, as far as chance is the
// seed's. `tests/soak` is the command.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/bad_disk.h"
#include "support/client.h"
#include "support/daemon.h"
#include "support/database.h"
#include "support/delivered.h"
#include "support/environment.h"
#include "support/lives.h"
#include "support/load.h"
#include "support/small_disk.h"

namespace {

using namespace std::chrono_literals;
using test::BadDisk;
using test::Clock;
using test::Daemon;
using test::DiskCall;
using test::kMiB;
using test::Load;
using test::milliseconds;
using test::Mode;

constexpr milliseconds kDrain = 1s;
constexpr std::size_t kMostSingles = 40'000, kMostBatched = 2'000;  // events of a step's two loads
constexpr std::size_t kPadding = 4'000;  // of the batched ones: each step fills a segment or two

constexpr std::size_t kSegment = 2;  // descriptors of a segment that the journal may hold more or less

enum class Trouble { none, frozen, locked, disk_full, sink_fails };
enum class End { none, stop, hasty_stop, kill };

const char* name_of(Trouble trouble) {
  constexpr std::array names{"no trouble", "frozen", "database locked", "disk full", "sink fails"};
  return names.at(static_cast<std::size_t>(trouble));
}
const char* name_of(End end) {
  constexpr std::array names{"goes on", "stopped", "stopped twice", "killed"};
  return names.at(static_cast<std::size_t>(end));
}

std::size_t descriptors_of(Daemon& daemon) {
  const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", daemon.process().pid()));
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// One state directory and one sink, from their first event to their last.
class Round {
 public:
  Round(std::mt19937& random, bool small_disk)
      : random_(random), lives_(kFlags, small_disk ? disk_.emplace(96 * kMiB).path() : std::filesystem::path()) {}

  void run(Clock::time_point until) {
    const auto half = Clock::now() + (until - Clock::now()) / 2;
    while (Clock::now() < half) live_and_end();
    live_on(until);
    lives_.drain(lives_.sqlite(), 0, told_.of.size());
    INFO("acknowledged ", told_.acknowledged, ", refused ", told_.refused, ", unanswered ", told_.unknown);
    CHECK(told_.acknowledged > 0);
    CHECK(told_.oddities.empty());
    lives_.check_sqlite(told_);
    CHECK(test::on_disk(lives_.journal()).segments <= 2);  // finished ones are gone
  }

  [[nodiscard]] std::size_t acknowledged() const noexcept { return told_.acknowledged; }

 private:
  inline static const test::Flags kFlags{"--workers",      "2",    "--drain-timeout", "1s",   "--retry-max", "200ms",
                                         "--queue-events", "5000", "--journal-bytes", "64MiB"};

  template <class Number>
  Number any(Number least, Number most) {
    return std::uniform_int_distribution<Number>(least, most)(random_);
  }
  void wait_a_little(milliseconds most) { std::this_thread::sleep_for(milliseconds(any<long>(0, most.count()))); }
  Trouble any_trouble() {
    const auto trouble = static_cast<Trouble>(any(0, 4));
    return trouble == Trouble::disk_full && !disk_ ? Trouble::none : trouble;
  }

  [[nodiscard]] std::unique_ptr<Daemon> start() {
    const std::string ack = any(0, 1) == 0 ? "written" : "synced";
    return std::make_unique<Daemon>(lives_.flags(lives_.sqlite(), {"--ack", ack}), sink_disk_.environment());
  }

  // Steps until one of them ends it.
  void live_and_end() {
    const auto daemon = start();
    for (;;) {
      const auto end = static_cast<End>(any(0, 3));
      step(*daemon, any_trouble(), end);
      if (end != End::none) return;
    }
  }

  void live_on(Clock::time_point until) {
    const auto daemon = start();
    step(*daemon, Trouble::none, End::none);
    wait_idle(*daemon);
    const std::size_t resident = daemon->process().resident();
    const std::size_t descriptors = descriptors_of(*daemon);
    do {
      step(*daemon, any_trouble(), End::none);
    } while (Clock::now() < until);
    wait_idle(*daemon);
    for (const auto limit = Clock::now() + 10s; descriptors_of(*daemon) > descriptors && Clock::now() < limit;) {
      std::this_thread::sleep_for(10ms);  // between looks: connections are on their way out
    }
    CHECK(descriptors_of(*daemon) <= descriptors + kSegment);
    const std::size_t now = daemon->process().resident();
    fmt::print("  one life: resident {} KiB, then {} KiB; descriptors {}, then {}\n", resident / 1024, now / 1024,
               descriptors, descriptors_of(*daemon));
    CHECK(now <= resident + 16 * kMiB);  // what the allocator keeps of the worst moment
    check_end(daemon->stop(), "behind all steps");
  }

  void wait_idle(Daemon& daemon) {
    const bool idle = test::wait_status_number(daemon.admin(), "kept", 0, 30s);
    CHECK_MESSAGE(idle, daemon.process().errors());
  }

  void step(Daemon& daemon, Trouble trouble, End end) {
    const std::string what = fmt::format("{}, {}", name_of(trouble), name_of(end));
    INFO(what);
    Load singles(plan(daemon, Mode::single, kMostSingles));
    Load batches(plan(daemon, Mode::ndjson, kMostBatched));
    wait_a_little(1500ms);
    begin(trouble, daemon);
    wait_a_little(2000ms);
    switch (end) {
      case End::none:
        break;
      case End::hasty_stop:
        daemon.signal_stop();
        wait_a_little(300ms);
        daemon.process().signal(SIGTERM);
        break;
      case End::stop:
        daemon.signal_stop();
        break;
      case End::kill:
        daemon.signal_stop(SIGKILL);
    }
    if (trouble == Trouble::frozen) daemon.process().signal(SIGCONT);
    if (end != End::none) {
      const test::Ended ended = daemon.wait_end();
      if (end != End::kill) check_end(ended, what);
    }
    mend();
    singles.stop();
    batches.stop();
    note(singles.fates(30s));
    note(batches.fates(30s));
    if (end != End::none) return;
    const int ready = test::ask_until(daemon.address(), test::get("/readyz"), 200, 20s).status;
    CHECK_MESSAGE(ready == 200, daemon.process().errors());
  }

  test::LoadPlan plan(const Daemon& daemon, Mode mode, std::size_t events) {
    test::LoadPlan plan;
    plan.address = daemon.address();
    plan.mode = mode;
    plan.connections = 4;
    plan.padding = mode == Mode::ndjson ? kPadding : 0;
    plan.first_event = next_;
    plan.most_events = next_ += events;
    return plan;
  }

  void begin(Trouble trouble, Daemon& daemon) {
    switch (trouble) {
      case Trouble::none:
        return;
      case Trouble::frozen:
        return daemon.process().signal(SIGSTOP);
      case Trouble::locked:
        return lock_sink();
      case Trouble::disk_full:
        full_ = true;
        return disk_->fill();
      case Trouble::sink_fails:
        return sink_disk_.fail({any(0, 1) == 0 ? DiskCall::write : DiskCall::sync}, any(0, 1) == 0 ? ENOSPC : EIO);
    }
  }
  // Two workers under full load leave the database free for moments only; who sleeps between looks, as SQLite's own
  // busy timeout does, may miss them all.
  void lock_sink() {
    lock_.emplace(lives_.sink().string());
    for (const auto until = test::Clock::now() + 60s; !lock_->try_run("BEGIN IMMEDIATE");) {
      REQUIRE(test::Clock::now() < until);
      std::this_thread::yield();
    }
  }
  void mend() {
    lock_.reset();
    if (full_) disk_->empty_again();
    full_ = false;
    sink_disk_.mend();
  }

  void note(const test::Fates& fates) { test::add(told_, fates); }

  static void check_end(const test::Ended& ended, const std::string& what) {
    INFO(what, "; it said:\n", ended.errors);
    CHECK((ended.code == 0 || ended.code == 3 || ended.code == 74));
    CHECK(ended.after <= kDrain + 1s);
    REQUIRE(ended.report);
    CHECK(ended.report->balanced());
    CHECK(ended.report->lost == 0);
    CHECK(ended.report->dead == 0);
  }

  std::mt19937& random_;
  std::optional<test::SmallDisk> disk_;  // the state directory is on it
  const test::Lives lives_;
  BadDisk sink_disk_{lives_.sink()};
  std::optional<test::Database> lock_;
  bool full_ = false;
  std::size_t next_ = 0;  // the first number of the next load
  test::Fates told_;
};

}  // namespace

TEST_SUITE("daemon.soak") {
  TEST_CASE("soak: whatever goes wrong, ledger and sink agree, and memory and descriptors are as at the start") {
    const std::chrono::seconds length(test::number_in_environment("SLUICE_SOAK_SECONDS", 20));
    const unsigned seed = test::number_in_environment("SLUICE_SOAK_SEED", std::random_device{}());
    const bool small_disk = !test::cannot_mount();
    const auto until = Clock::now() + length;
    // A few rounds of minutes rather than one: the ledger stays small, and what is wrong is known earlier.
    const auto round_length = std::max<Clock::duration>(length / 4, std::min<Clock::duration>(length, 60s));
    std::mt19937 random(seed);
    INFO("seed ", seed);
    fmt::print("soak: {} s, seed {}\n", length.count(), seed);
    for (int i = 1; Clock::now() < until; ++i) {
      Round round(random, small_disk);
      round.run(std::min(until, Clock::now() + round_length));
      fmt::print("  round {}: {} events were acknowledged\n", i, round.acknowledged());
      std::fflush(stdout);
    }
  }
}
