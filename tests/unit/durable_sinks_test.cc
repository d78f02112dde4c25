// As durable as --ack says: which syncs the built-in sinks ask the system for, and when. On real files; what is counted
// are the system's own calls, of our code and of SQLite's.
#include <doctest/doctest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "sinks_support.h"
#include "sluice/sinks.h"
#include "sluice/sqlite.h"
#include "sluice/tracker.h"
#include "sync_spy.h"

using namespace sinks_test;
using namespace std::chrono_literals;
using sluice::Ack;
using sluice::Verdict;

namespace {

std::unique_ptr<sluice::Sink> sink_of(const sluice::SinkFactory& sinks, Ack ack) {
  return sinks({.ack = ack, .log = {}});
}

bool delivered(sluice::Sink& sink, std::uint64_t number) {
  return all(deliver(sink, Batch(number).add(R"({"n":1})")), Verdict::delivered);
}

bool sync_fails(sluice::Sink& sink) {
  try {
    sink.sync();
    return false;
  } catch (const std::exception&) {
    return true;
  }
}

}  // namespace

TEST_CASE("durable sinks: under synced a file has the batch, and its directory the file, before it is delivered") {
  const TempDir dir;
  const auto sink = sink_of(sluice::sinks_for("file:" + dir / "out.ndjson"), Ack::synced);
  SyncSpy spy;
  REQUIRE(delivered(*sink, 1));
  CHECK(spy.take() == std::vector<std::string>{"out.ndjson", std::filesystem::path(dir.path()).filename().string()});
  REQUIRE(delivered(*sink, 2));
  CHECK(spy.take() == std::vector<std::string>{"out.ndjson"});
}

TEST_CASE("durable sinks: under synced SQLite has the batch before it is delivered") {
  const TempDir dir;
  const auto sink = sink_of(sluice::sqlite::sinks_for("sqlite:" + dir / "events.db"), Ack::synced);
  SyncSpy spy;
  for (std::uint64_t number = 1; number <= 2; ++number) {
    REQUIRE(delivered(*sink, number));
    CHECK(spy.count("events.db-wal") == 1);
  }
}

TEST_CASE("durable sinks: a tracker's ack level reaches its sinks, whoever made their factory") {
  // There is nothing else to be told: a factory takes a URL, and its sinks what the tracker says.
  static_assert(std::is_same_v<decltype(sluice::sinks_for), sluice::SinkFactory(std::string_view)>);
  for (const Ack ack : {Ack::queued, Ack::written, Ack::synced}) {
    CAPTURE(static_cast<int>(ack));
    const TempDir dir;
    sluice::Options options;
    options.ack = ack;
    options.workers = 1;
    options.state_dir = dir / "state";
    options.log = [](sluice::LogLevel, std::string_view) {};
    SyncSpy spy;
    sluice::Tracker tracker(options, sluice::sinks_for("file:" + dir / "out.ndjson"));
    REQUIRE(tracker.track(sluice::Event("x")) == sluice::Admit::accepted);
    const sluice::Report report = tracker.shutdown(10s);
    CHECK(report.books.delivered == 1);
    CHECK(spy.count("out.ndjson") == (ack == Ack::queued ? 0U : 1U));
  }
}

TEST_CASE(
    "durable sinks: under written a file is synced when it is asked for, its directory too, and only if it was written "
    "to") {
  const TempDir dir;
  const auto sink = sink_of(sluice::sinks_for("file:" + dir / "out.ndjson"), Ack::written);
  SyncSpy spy;
  sink->sync();
  CHECK(spy.take().empty());
  REQUIRE(delivered(*sink, 1));
  CHECK(spy.take().empty());
  sink->sync();
  auto synced = spy.take();
  std::ranges::sort(synced);
  std::vector<std::string> wanted{"out.ndjson", std::filesystem::path(dir.path()).filename().string()};
  std::ranges::sort(wanted);
  CHECK(synced == wanted);
  sink->sync();
  CHECK(spy.take().empty());
}

TEST_CASE("durable sinks: one sync of a file is for all workers who wrote before it, and one that fails as well") {
  const TempDir dir;
  const auto sinks = sluice::sinks_for("file:" + dir / "out.ndjson");
  const auto one = sink_of(sinks, Ack::written);
  const auto other = sink_of(sinks, Ack::written);
  SyncSpy spy;
  REQUIRE(delivered(*one, 1));
  REQUIRE(delivered(*other, 2));
  one->sync();
  CHECK(spy.count("out.ndjson") == 1);
  other->sync();
  CHECK(spy.count("out.ndjson") == 0);

  // The system tells of a failure once, and calls the pages clean.
  REQUIRE(delivered(*one, 3));
  REQUIRE(delivered(*other, 4));
  spy.fail_once("out.ndjson", EIO);
  CHECK(sync_fails(*one));
  REQUIRE(delivered(*one, 5));
  CHECK_FALSE(sync_fails(*one));
  CHECK(sync_fails(*other));
  REQUIRE(delivered(*other, 6));
  CHECK_FALSE(sync_fails(*other));
}

TEST_CASE("durable sinks: what was written to a file that was renamed since is synced there, and a failure is told") {
  const TempDir dir;
  const auto sink = sink_of(sluice::sinks_for("file:" + dir / "out.ndjson"), Ack::written);
  SyncSpy spy;
  REQUIRE(delivered(*sink, 1));
  std::filesystem::rename(dir / "out.ndjson", dir / "old.ndjson");
  REQUIRE(delivered(*sink, 2));
  CHECK(spy.count("old.ndjson") == 1);
  CHECK_FALSE(sync_fails(*sink));
  CHECK(spy.count("out.ndjson") == 1);

  REQUIRE(delivered(*sink, 3));
  std::filesystem::rename(dir / "out.ndjson", dir / "old.ndjson");
  spy.fail_once("old.ndjson", EIO);
  REQUIRE(delivered(*sink, 4));
  CHECK(sync_fails(*sink));
  REQUIRE(delivered(*sink, 5));
  CHECK_FALSE(sync_fails(*sink));
}

TEST_CASE("durable sinks: under written SQLite's log is synced when it is asked for, also beside a reader") {
  const TempDir dir;
  const auto sink = sink_of(sluice::sqlite::sinks_for("sqlite:" + dir / "events.db"), Ack::written);
  REQUIRE(delivered(*sink, 1));
  // An old reader holds up every checkpoint, and with it the only sync that SQLite would do by itself.
  sqlite3* reader = nullptr;
  REQUIRE(sqlite3_open((dir / "events.db").c_str(), &reader) == SQLITE_OK);
  REQUIRE(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM events", nullptr, nullptr, nullptr) == SQLITE_OK);
  sink->sync();
  SyncSpy spy;
  REQUIRE(delivered(*sink, 2));
  CHECK(spy.take().empty());
  sink->sync();
  CHECK(spy.count("events.db-wal") == 1);
  sink->sync();
  CHECK(spy.take().empty());

  REQUIRE(delivered(*sink, 3));
  spy.fail_once("events.db-wal", EIO);
  CHECK(sync_fails(*sink));
  REQUIRE(delivered(*sink, 4));
  CHECK_FALSE(sync_fails(*sink));
  CHECK(sqlite3_close(reader) == SQLITE_OK);
}

TEST_CASE("durable sinks: one sync of SQLite's log is for all workers who committed before it") {
  const TempDir dir;
  const auto sinks = sluice::sqlite::sinks_for("sqlite:" + dir / "events.db");
  const auto one = sink_of(sinks, Ack::written);
  const auto other = sink_of(sinks, Ack::written);
  REQUIRE(delivered(*one, 1));
  REQUIRE(delivered(*other, 2));
  SyncSpy spy;
  one->sync();
  CHECK(spy.count("events.db-wal") == 1);
  other->sync();
  CHECK(spy.take().empty());
}

TEST_CASE("durable sinks: a new log of SQLite has its name synced with it") {
  const TempDir dir;
  SyncSpy spy;
  const auto sink = sink_of(sluice::sqlite::sinks_for("sqlite:" + dir / "events.db"), Ack::written);
  REQUIRE(delivered(*sink, 1));
  sink->sync();
  const std::vector<std::string> synced = spy.take();
  const auto log = std::ranges::find(synced, "events.db-wal");
  const auto name = std::filesystem::path(dir.path()).filename().string();
  CHECK(std::find(log, synced.end(), name) != synced.end());
}
