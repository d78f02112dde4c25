// The SQLite sink, looked at through a connection of the test's own.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "sinks_support.h"
#include "support/database.h"

namespace {

using namespace sinks_test;
using namespace std::chrono_literals;
using sluice::Verdict;

std::string url_of(const std::string& path) { return "sqlite:" + path; }

std::unique_ptr<sluice::Sink> sqlite_sink(const std::string& path, sluice::SinkOptions options = {}) {
  return sluice::sinks_for(url_of(path), options)();
}

using Reader = test::Database;  // somebody else's connection

std::string payloads(const std::string& path) { return Reader(path).ask("SELECT payload FROM events ORDER BY rowid"); }

TEST_CASE("sqlite: a row has the event's id, time, type and payload, JSON and text as text") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  CHECK(sink->name() == url_of(dir / "db"));
  Batch batch;
  batch.add("{\"a\":\n1}").add("t\u00e9xt", "text/plain").add("\xff", "text/plain").add("x", "");
  batch.add("{}", "application/cloudevents+json").add("", "text/plain").add(std::string("\0", 1), "text/plain");
  CHECK(all(deliver(*sink, batch), Verdict::delivered));
  Reader reader(dir / "db");
  CHECK(reader.ask("SELECT id, received_at, content_type, payload FROM events WHERE rowid=1") ==
        "00010203-0405-0607-0809-0a0b0c0d0e0f-1,2024-05-06T07:08:09.123456Z,application/json,{\"a\":\n1}");
  CHECK(reader.ask("SELECT typeof(payload) FROM events ORDER BY rowid") == "text,text,blob,blob,text,text,blob");
  CHECK(reader.ask("SELECT payload FROM events WHERE rowid=2") == "t\u00e9xt");
  CHECK(reader.ask("SELECT hex(payload) FROM events WHERE rowid=3") == "FF");
  CHECK(reader.ask("SELECT content_type FROM events WHERE rowid=4").empty());
  CHECK(reader.ask("PRAGMA journal_mode") == "wal");
}

TEST_CASE("sqlite: an event that is there already is delivered and stands there once") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  deliver(*sink, Batch().add("1").add("2"));
  CHECK(all(deliver(*sink, Batch().add("1").add("2").add("3")), Verdict::delivered));
  CHECK(payloads(dir / "db") == "1,2,3");
}

TEST_CASE("sqlite: every ack level delivers, and a second start adds to the first") {
  const TempDir dir;
  std::uint64_t next = 1;
  for (const auto ack : {sluice::Ack::queued, sluice::Ack::written, sluice::Ack::synced}) {
    sluice::SinkOptions options;
    options.ack = ack;
    CHECK(all(deliver(*sqlite_sink(dir / "db", options), Batch(next++).add("1")), Verdict::delivered));
  }
  CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == "3");
}

TEST_CASE("sqlite: the refused event is named, and its neighbours are delivered in the same call") {
  const TempDir dir;
  Reader(dir / "db")
      .run(
          "CREATE TABLE events(id TEXT UNIQUE, received_at, content_type, payload CHECK(payload NOT LIKE '%poison%'))");
  const auto sink = sqlite_sink(dir / "db");
  const auto verdicts = deliver(*sink, Batch().add("1").add("\"poison\"").add("3").add("\"poison too\"").add("5"));
  REQUIRE(verdicts.size() == 5);
  CHECK(verdicts[0].kind() == Verdict::delivered);
  CHECK(verdicts[1].kind() == Verdict::refused);
  CHECK(verdicts[1].reason().starts_with("write " + (dir / "db") + ": CHECK constraint failed"));
  CHECK(verdicts[2].kind() == Verdict::delivered);
  CHECK(verdicts[3].kind() == Verdict::refused);
  CHECK(verdicts[4].kind() == Verdict::delivered);
  CHECK(payloads(dir / "db") == "1,3,5");
}

TEST_CASE("sqlite: a trigger that rolls the whole transaction back takes nobody along") {
  const TempDir dir;
  CHECK(all(deliver(*sqlite_sink(dir / "db"), Batch(1).add("0")), Verdict::delivered));
  Reader(dir / "db")
      .run(
          "CREATE TRIGGER t BEFORE INSERT ON events WHEN new.payload='2' BEGIN SELECT RAISE(ROLLBACK, 'no twos'); END");
  const auto verdicts = deliver(*sqlite_sink(dir / "db"), Batch(2).add("1").add("2").add("3"));
  CHECK(verdicts[0].kind() == Verdict::delivered);
  CHECK(verdicts[1].kind() == Verdict::refused);
  CHECK(verdicts[1].reason() == "write " + (dir / "db") + ": no twos");
  CHECK(verdicts[2].kind() == Verdict::delivered);
  CHECK(payloads(dir / "db") == "0,1,3");
}

TEST_CASE("sqlite: an event that only fails is tried again alone") {
  const TempDir dir;
  CHECK(sqlite_sink(dir / "db") != nullptr);
  Reader(dir / "db").run("CREATE TRIGGER t BEFORE INSERT ON events BEGIN SELECT json(new.payload); END");
  const auto sink = sqlite_sink(dir / "db");
  for (std::uint64_t first : {1U, 10U}) {
    const auto verdicts = deliver(*sink, Batch(first).add("1").add("no json").add("3"));
    CHECK(verdicts[0].kind() == Verdict::delivered);
    CHECK(verdicts[1].kind() == Verdict::try_again);
    CHECK(verdicts[1].reason() == "write " + (dir / "db") + ": malformed JSON");
    CHECK(verdicts[2].kind() == Verdict::delivered);
  }
  CHECK(payloads(dir / "db") == "1,3,1,3");
}

TEST_CASE("sqlite: a locked database holds nobody beyond the stop, and all is to be tried again") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  Reader other(dir / "db");
  other.run("BEGIN IMMEDIATE");
  std::stop_source stop;
  std::vector<Verdict> verdicts;
  const auto began = std::chrono::steady_clock::now();
  std::thread worker([&] { verdicts = deliver(*sink, Batch().add("1").add("2"), stop.get_token()); });
  stop.request_stop();
  worker.join();
  CHECK(std::chrono::steady_clock::now() - began < 4s);  // its patience alone would take 5
  CHECK(all(verdicts, Verdict::try_again));
  other.run("COMMIT");
  CHECK(all(deliver(*sink, Batch().add("1").add("2")), Verdict::delivered));
  CHECK(payloads(dir / "db") == "1,2");
}

TEST_CASE("sqlite: a database that is locked for a while is waited for") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  std::vector<Verdict> verdicts;
  std::atomic<bool> done{false};
  Reader other(dir / "db");
  other.run("BEGIN IMMEDIATE");
  std::thread worker([&] {
    verdicts = deliver(*sink, Batch().add("1"));
    done = true;
  });
  CHECK_FALSE(done);
  other.run("COMMIT");
  worker.join();
  CHECK(all(verdicts, Verdict::delivered));
}

TEST_CASE("sqlite: many connections open one new database at once, and write to it at once") {
  const TempDir dir;
  constexpr std::size_t kThreads = 6;
  constexpr std::size_t kBatches = 20;
  // Two factories, as two trackers would have.
  const std::array factories{sluice::sinks_for(url_of(dir / "db"), {}), sluice::sinks_for(url_of(dir / "db"), {})};
  std::atomic<std::size_t> delivered{0};
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto sink = factories[t % 2]();
      for (std::size_t i = 0; i < kBatches; ++i) {
        Batch batch(1 + (t * kBatches + i) * 10);
        for (int n = 0; n < 10; ++n) batch.add("1");
        if (all(deliver(*sink, batch), Verdict::delivered)) ++delivered;
      }
    });
  }
  threads.clear();
  CHECK(delivered == kThreads * kBatches);
  CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == std::to_string(kThreads * kBatches * 10));
}

TEST_CASE("sqlite: a batch for which there is no room is tried again whole") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  deliver(*sink, Batch(1).add("1"));
  Batch big(2);
  for (int i = 0; i < 100; ++i) big.add('"' + std::string(10000, 'x') + '"');
  std::vector<Verdict> verdicts;
  {
    const FileSizeLimit limit(200000);
    verdicts = deliver(*sink, big);
  }
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason().starts_with("write " + (dir / "db") + ": "));
  CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == "1");
  CHECK(all(deliver(*sink, big), Verdict::delivered));
  CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == "101");
}

TEST_CASE("sqlite: a database that was renamed keeps what was delivered into it, and a new one is made") {
  const TempDir dir;
  const auto factory = sluice::sinks_for(url_of(dir / "db"), {});
  auto one = factory();
  auto two = factory();
  deliver(*one, Batch(1).add("1"));
  deliver(*two, Batch(2).add("2"));
  std::filesystem::rename(dir / "db", dir / "old");
  CHECK(all(deliver(*one, Batch(3).add("3")), Verdict::delivered));
  CHECK(all(deliver(*two, Batch(4).add("4")), Verdict::delivered));
  CHECK(all(deliver(*one, Batch(5).add("5")), Verdict::delivered));
  two.reset();
  CHECK(all(deliver(*one, Batch(6).add("6")), Verdict::delivered));
  one.reset();
  CHECK(payloads(dir / "old") == "1,2");
  CHECK(payloads(dir / "db") == "3,4,5,6");
}

TEST_CASE("sqlite: a database that was deleted is made anew, and an idle connection to the old one does no harm") {
  const TempDir dir;
  const auto factory = sluice::sinks_for(url_of(dir / "db"), {});
  const auto one = factory();
  auto idle = factory();
  deliver(*one, Batch(1).add("1"));
  deliver(*idle, Batch(2).add("2"));
  std::filesystem::remove(dir / "db");
  CHECK(all(deliver(*one, Batch(3).add("3")), Verdict::delivered));
  idle.reset();
  CHECK(all(deliver(*one, Batch(4).add("4")), Verdict::delivered));
  CHECK(payloads(dir / "db") == "3,4");
  CHECK(Reader(dir / "db").ask("PRAGMA integrity_check") == "ok");
}

TEST_CASE("sqlite: a table that somebody dropped is made anew") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  deliver(*sink, Batch(1).add("1"));
  Reader(dir / "db").run("DROP TABLE events");
  const auto verdicts = deliver(*sink, Batch(2).add("2").add("3"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(all(deliver(*sink, Batch(2).add("2").add("3")), Verdict::delivered));
  CHECK(payloads(dir / "db") == "2,3");
}

TEST_CASE("sqlite: while its directory is gone nothing is lost, and it works again afterwards") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "sub");
  const auto sink = sqlite_sink(dir / "sub/db");
  std::filesystem::rename(dir / "sub", dir / "away");
  const auto verdicts = deliver(*sink, Batch().add("1"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() ==
        "open " + (dir / "sub/db") + ": unable to open database file: No such file or directory");
  std::filesystem::create_directory(dir / "sub");
  CHECK(all(deliver(*sink, Batch().add("1")), Verdict::delivered));
  CHECK(payloads(dir / "sub/db") == "1");
}

TEST_CASE("sqlite: what cannot be opened, or is no database of ours, refuses the start with the reason") {
  const TempDir dir;
  const Refusal missing = refusal_of(url_of(dir / "no/db"));
  CHECK(missing.kind == sluice::StartError::Kind::io);
  CHECK(missing.what == "open " + (dir / "no/db") + ": unable to open database file: No such file or directory");

  write_file(dir / "text", std::string(5000, 'x'));
  const Refusal text = refusal_of(url_of(dir / "text"));
  CHECK(text.kind == sluice::StartError::Kind::io);
  CHECK(text.what == "open " + (dir / "text") + ": file is not a database");
  CHECK(content(dir / "text") == std::string(5000, 'x'));

  Reader(dir / "other").run("CREATE TABLE events(id INTEGER PRIMARY KEY, what)");
  const Refusal other = refusal_of(url_of(dir / "other"));
  CHECK(other.kind == sluice::StartError::Kind::unusable);
  CHECK(other.what.starts_with("open " + (dir / "other") + ": table events has no column named"));

  Reader(dir / "loose").run("CREATE TABLE events(id, received_at, content_type, payload)");
  CHECK(refusal_of(url_of(dir / "loose")).kind == sluice::StartError::Kind::unusable);
}

}  // namespace
