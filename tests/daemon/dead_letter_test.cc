// Dead letters beneath the real daemon: an event that is given up counts as dead once it stands in the dead-letter file
// and the disk has said so; a disk that does not take it means "try again"; and its neighbours, in the same batch, go
// their own way meanwhile.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "support/bad_disk.h"
#include "support/client.h"
#include "support/daemon.h"
#include "support/database.h"
#include "support/delivered.h"
#include "support/json_members.h"
#include "support/lives.h"
#include "support/small_disk.h"

namespace {

using namespace std::chrono_literals;
using test::BadDisk;
using test::Daemon;
using test::Database;
using test::DiskCall;
using test::lines_with;
using test::Lives;
using test::status_number;
using test::wait_status_number;

constexpr std::string_view kNotKept = "dead letters cannot be kept, trying again";

std::filesystem::path letters_of(const Lives& lives) { return lives.state() / "dead-letter.ndjson"; }

// A batch of so many events, some of which a database with one of the rules below does not take.
std::string batch_with_poison(std::size_t events, const std::vector<std::size_t>& poisoned) {
  std::string lines;
  for (std::size_t k = 0; k < events; ++k) {
    const bool poison = std::ranges::find(poisoned, k) != poisoned.end();
    lines += fmt::format("{{\"k\":{}{}}}\n", k, poison ? R"(,"p":"poison")" : "");
  }
  return test::post("application/x-ndjson", lines);
}

// The table of the sink, made before it, with a rule of its owner's: a poisoned row breaks a constraint (which is a
// refusal), or an operation fails on it (which may pass).
enum class Rule { refuses, fails };
void make_table(const std::filesystem::path& path, Rule rule) {
  Database database(path);
  const std::string check = rule == Rule::refuses ? " CHECK(payload NOT LIKE '%poison%')" : "";
  database.run("CREATE TABLE events(id TEXT PRIMARY KEY NOT NULL, received_at, content_type, payload" + check + ")");
  if (rule == Rule::fails) {
    database.run(
        "CREATE TRIGGER t BEFORE INSERT ON events WHEN new.payload LIKE '%poison%' BEGIN SELECT json('{'); END");
  }
}

// The dead letters are these events, each once, for that reason and after so many attempts.
void check_letters(const Lives& lives, const std::vector<std::size_t>& wanted, const std::string& reason,
                   const std::string& attempts) {
  std::vector<std::size_t> found;
  for (const std::string& line : test::lines_of(letters_of(lives))) {
    const test::Members letter = test::members_of(line);
    CHECK_MESSAGE(letter.at("reason").find(reason) != std::string::npos, line);
    CHECK(letter.at("attempts") == "integer " + attempts);
    const auto& data = letter.at("data");
    found.push_back(std::stoul(data.substr(data.find(':') + 1)));
  }
  std::ranges::sort(found);
  CHECK(found == wanted);
}

// All but these, each once.
void check_neighbours(const Lives& lives, std::size_t events, const std::vector<std::size_t>& poisoned) {
  auto counts = test::delivered_to_sqlite(lives.sink(), events);
  for (const std::size_t k : poisoned) CHECK(counts[k]++ == 0);
  CHECK(std::ranges::count(counts, 1) == static_cast<std::ptrdiff_t>(events));
}

const std::vector<std::size_t> kPoisoned{0, 41, 42, 99};  // at both ends of the batch, and two together

}  // namespace

TEST_SUITE("daemon.dead_letter") {
  TEST_CASE("dead letter: what SQLite refuses is dead, and the neighbours in its batch are delivered") {
    const Lives lives({"--workers", "1"});
    make_table(lives.sink(), Rule::refuses);
    Daemon daemon(lives.flags(lives.sqlite()));
    REQUIRE(test::ask_once(daemon.address(), batch_with_poison(100, kPoisoned)).status == 202);
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->delivered == 96);
    CHECK(ended.report->dead == 4);
    CHECK(lines_with(ended.errors, "event is dead id=") == 1);
    CHECK(lines_with(ended.errors, "\" events=4") == 1);  // and counts all four
    check_letters(lives, kPoisoned, "CHECK constraint failed", "1");
    check_neighbours(lives, 100, kPoisoned);
  }

  TEST_CASE(
      "dead letter: past --retry-limit an event is dead, and its neighbours were delivered at the first attempt") {
    const Lives lives({"--workers", "1", "--retry-limit", "3", "--retry-min", "1ms", "--retry-max", "1ms"});
    make_table(lives.sink(), Rule::fails);
    Daemon daemon(lives.flags(lives.sqlite()));
    REQUIRE(test::ask_once(daemon.address(), batch_with_poison(100, kPoisoned)).status == 202);
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->delivered == 96);
    CHECK(ended.report->dead == 4);
    CHECK(lines_with(ended.errors, "events=4 attempt=1 ") == 1);  // the poisoned alone
    check_letters(lives, kPoisoned, "given up after 3 attempts: write " + lives.sink().string() + ": malformed JSON",
                  "3");
    check_neighbours(lives, 100, kPoisoned);
  }

  TEST_CASE(
      "dead letter: while their disk is full nobody is dead and the neighbours are delivered; then each is, once") {
    if (test::cannot_mount()) return;
    for (const Rule rule : {Rule::refuses, Rule::fails}) {
      const std::string kind = rule == Rule::refuses ? "refused" : "past the retry limit";
      INFO(kind);
      const test::SmallDisk disk(64 << 10U);
      const Lives lives(
          {"--workers", "1", "--retry-limit", "2", "--retry-min", "1ms", "--retry-max", "20ms", "-t", "300ms"});
      std::filesystem::create_directory(lives.state());
      std::filesystem::create_symlink(disk.path() / "letters", letters_of(lives));
      make_table(lives.sink(), rule);
      {
        Daemon daemon(lives.flags(lives.sqlite()));
        disk.fill();
        REQUIRE(test::ask_once(daemon.address(), batch_with_poison(100, kPoisoned)).status == 202);
        CHECK(wait_status_number(daemon.admin(), "kept", 4, 10s));
        const auto told = daemon.process().wait_line(kNotKept, 10s);
        REQUIRE(told);
        CHECK(lines_with(*told, "No space left on device") == 1);
        CHECK(status_number(daemon.admin(), "dead") == 0);
        CHECK(status_number(daemon.admin(), "delivered") == 96);
        const test::Ended ended = daemon.stop();
        CHECK(ended.code == 3);
        REQUIRE(ended.report);
        CHECK(ended.report->dead == 0);
        CHECK(ended.report->kept == 4);
        CHECK(lines_with(ended.errors, kNotKept) == 1);
        CHECK(test::text_of(letters_of(lives)).empty());
      }
      Daemon daemon(lives.flags(lives.sqlite()));
      CHECK(daemon.process().wait_line(kNotKept, 10s));
      disk.empty_again();
      CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->replayed == 4);
      CHECK(ended.report->dead == 4);
      CHECK(test::lines_of(letters_of(lives)).size() == 4);
      check_neighbours(lives, 100, kPoisoned);
    }
  }

  TEST_CASE("dead letter: one whose sync has not returned does not count, and killed there it is not lost") {
    const Lives lives({"--workers", "1"});
    BadDisk disk(letters_of(lives));
    {
      Daemon daemon(lives.flags("null:?refuse=1"), disk.environment());
      disk.hold({DiskCall::sync});
      REQUIRE(test::ask_once(daemon.address(), test::batch(0, 10)).status == 202);
      REQUIRE(disk.wait_held(10s));
      CHECK(test::lines_of(letters_of(lives)).size() == 10);  // written, and no more than that
      CHECK(status_number(daemon.admin(), "dead") == 0);
      CHECK(status_number(daemon.admin(), "kept") == 10);
      daemon.process().signal(SIGKILL);
      static_cast<void>(daemon.wait_end());
    }
    lives.drain(lives.sqlite(), 10);
    lives.check_sqlite(10);
  }

  TEST_CASE("dead letter: a sync that fails leaves no line behind, and each letter stands there once in the end") {
    const Lives lives({"--workers", "1", "--retry-min", "1ms", "--retry-max", "1ms"});
    BadDisk disk(letters_of(lives));
    Daemon daemon(lives.flags("null:?refuse=1"), disk.environment());
    disk.fail({DiskCall::sync}, EIO);
    REQUIRE(test::ask_once(daemon.address(), test::batch(0, 10)).status == 202);
    const auto told = daemon.process().wait_line(kNotKept, 10s);
    REQUIRE(told);
    CHECK(lines_with(*told, "Input/output error") == 1);
    CHECK(status_number(daemon.admin(), "dead") == 0);
    disk.mend();
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->dead == 10);
    std::vector<std::size_t> all(10);
    for (std::size_t k = 0; k < all.size(); ++k) all[k] = k;
    const std::vector<std::size_t> found = test::numbers_in(letters_of(lives));
    CHECK(found == all);
  }

  TEST_CASE("dead letter: a sink that fails as well does not hide that dead letters cannot be kept") {
    const Lives lives({"--workers", "2", "--batch-events", "1", "--retry-max", "100ms", "-t", "300ms"});
    BadDisk disk(letters_of(lives));
    Daemon daemon(lives.flags("null:?refuse=0.5&fail=0.5"), disk.environment());
    disk.fail({DiskCall::write}, ENOSPC);
    REQUIRE(test::ask_once(daemon.address(), test::batch(0, 200)).status == 202);
    CHECK(daemon.process().wait_line("sink failed, trying again", 10s));
    CHECK(daemon.process().wait_line(kNotKept, 5s));
    disk.mend();
    static_cast<void>(daemon.stop());
  }
}
