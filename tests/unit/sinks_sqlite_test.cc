// The SQLite sink, looked at through a connection of the test's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "sinks_support.h"
#include "support/database.h"

namespace {

using namespace sinks_test;
using namespace std::chrono_literals;
using sluice::Verdict;

std::string url_of(const std::string& path) { return "sqlite:" + path; }

std::unique_ptr<sluice::Sink> sqlite_sink(const std::string& path, const sluice::SinkContext& context = {}) {
  return sluice::sqlite::sinks_for(url_of(path))(context);
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

TEST_CASE("sqlite: an event that is already in the table counts as delivered, and is there once") {
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
    sluice::SinkContext context;
    context.ack = ack;
    CHECK(all(deliver(*sqlite_sink(dir / "db", context), Batch(next++).add("1")), Verdict::delivered));
  }
  CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == "3");
}

TEST_CASE("sqlite: the refused event has the verdict, and its neighbours are delivered in the same call") {
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

TEST_CASE("sqlite: a trigger that rolls back the whole transaction loses no other event") {
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

// Makes the table, and lets this stand before each row goes into it.
void make_trigger(const std::string& path, const std::string& condition, const std::string& statements) {
  CHECK(sqlite_sink(path) != nullptr);
  Reader(path).run("CREATE TRIGGER t BEFORE INSERT ON events WHEN " + condition + " BEGIN " + statements + "; END");
}

TEST_CASE("sqlite: an event on which the database fails is a suspect, and its neighbours are delivered") {
  const TempDir dir;
  make_trigger(dir / "db", "true", "SELECT json(new.payload)");
  const auto sink = sqlite_sink(dir / "db");
  for (std::uint64_t first : {1U, 10U}) {
    const auto verdicts = deliver(*sink, Batch(first).add("1").add("no json").add("3"));
    CHECK(verdicts[0].kind() == Verdict::delivered);
    CHECK(verdicts[1].kind() == Verdict::suspect);
    CHECK(verdicts[1].reason() == "write " + (dir / "db") + ": malformed JSON");
    CHECK(verdicts[2].kind() == Verdict::delivered);
  }
  CHECK(payloads(dir / "db") == "1,3,1,3");
}

TEST_CASE("sqlite: an event whose value does not fit the table's types is a suspect") {
  const TempDir dir;
  Reader(dir / "db").run("CREATE TABLE events(id TEXT UNIQUE, received_at, content_type, payload INTEGER PRIMARY KEY)");
  const auto verdicts = deliver(*sqlite_sink(dir / "db"), Batch().add("1").add("\"two\"").add("3"));
  CHECK(verdicts[0].kind() == Verdict::delivered);
  CHECK(verdicts[1].kind() == Verdict::suspect);
  CHECK(verdicts[1].reason() == "write " + (dir / "db") + ": datatype mismatch");
  CHECK(verdicts[2].kind() == Verdict::delivered);
}

TEST_CASE("sqlite: if the database fails on every event, none is a suspect") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  make_trigger(dir / "db", "true", "INSERT INTO nowhere VALUES(new.payload)");
  const auto verdicts = deliver(*sink, Batch().add("1").add("2"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[1].reason() == "write " + (dir / "db") + ": no such table: main.nowhere");
  Reader(dir / "db").run("CREATE TABLE nowhere(payload)");
  CHECK(all(deliver(*sink, Batch().add("1").add("2")), Verdict::delivered));
}

TEST_CASE("sqlite: an excluded event leaves no changes, whatever its trigger did before it failed") {
  for (const char* how : {"ABORT", "FAIL", "ROLLBACK"}) {
    CAPTURE(how);
    const TempDir dir;
    Reader(dir / "db").run("CREATE TABLE seen(payload)");
    make_trigger(dir / "db", "true",
                 "INSERT INTO seen VALUES(new.payload); SELECT RAISE(" + std::string(how) +
                     ", 'poison') WHERE new.payload LIKE '%poison%'");
    const auto verdicts =
        deliver(*sqlite_sink(dir / "db"), Batch().add("1").add("\"poison\"").add("3").add("\"poison\"").add("5"));
    for (const std::size_t i : {0U, 2U, 4U}) CHECK(verdicts[i].kind() == Verdict::delivered);
    for (const std::size_t i : {1U, 3U}) {
      CHECK(verdicts[i].kind() == Verdict::refused);
      CHECK(verdicts[i].reason() == "write " + (dir / "db") + ": poison");
    }
    CHECK(payloads(dir / "db") == "1,3,5");
    CHECK(Reader(dir / "db").ask("SELECT payload FROM seen ORDER BY rowid") == "1,3,5");
  }
}

TEST_CASE("sqlite: an event sees the earlier events of its batch in the table, also after an excluded one") {
  for (const char* how : {"ABORT", "FAIL", "ROLLBACK"}) {
    CAPTURE(how);
    const TempDir dir;
    make_trigger(dir / "db", "true",
                 "SELECT RAISE(" + std::string(how) +
                     ", 'poison') WHERE new.payload='0'; SELECT RAISE(ABORT, 'its parent is missing') "
                     "WHERE new.payload > '1' AND NOT EXISTS(SELECT 1 FROM events WHERE payload + 1 = CAST(new.payload "
                     "AS INTEGER))");
    const auto verdicts = deliver(*sqlite_sink(dir / "db"),
                                  Batch().add("1").add("0").add("2").add("0").add("3").add("9").add("4").add("0"));
    CHECK(payloads(dir / "db") == "1,2,3,4");
    CHECK(verdicts[5].reason() == "write " + (dir / "db") + ": its parent is missing");
  }
}

// Counts what the database begins to insert, whatever becomes of it: by a function that each new connection knows, for
// a trigger to call.
class InsertCount {
 public:
  InsertCount() {
    count() = 0;
    REQUIRE(sqlite3_auto_extension(reinterpret_cast<void (*)()>(&add_function)) == SQLITE_OK);
  }
  InsertCount(const InsertCount&) = delete;
  InsertCount& operator=(const InsertCount&) = delete;
  ~InsertCount() { sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&add_function)); }
  [[nodiscard]] static std::atomic<int>& count() {
    static std::atomic<int> inserts{0};
    return inserts;
  }

 private:
  static int add_function(sqlite3* database, char** /*error*/, const void* /*api*/) {
    const auto called = [](sqlite3_context* context, int /*arguments*/, sqlite3_value** /*values*/) {
      ++count();
      sqlite3_result_int(context, 1);
    };
    return sqlite3_create_function(database, "counted", 0, SQLITE_UTF8, nullptr, called, nullptr, nullptr);
  }
};

TEST_CASE("sqlite: a batch in which every other event is poisoned is not inserted again for each of them") {
  constexpr int kPairs = 2048;
  const InsertCount inserts;
  for (const char* poison : {"RAISE(ABORT, 'no')", "RAISE(ROLLBACK, 'no')", "json('{')"}) {
    CAPTURE(poison);
    const TempDir dir;
    make_trigger(dir / "db", "counted() AND new.payload LIKE '%poison%'", "SELECT " + std::string(poison));
    const auto sink = sqlite_sink(dir / "db");
    Batch batch;
    for (int i = 0; i < kPairs; ++i) batch.add("1").add("\"poison\"");
    InsertCount::count() = 0;
    const auto verdicts = deliver(*sink, batch);
    MESSAGE(std::string(poison), ": ", InsertCount::count().load(), " inserts");
    // If all were inserted anew for each that is taken out, it would take 2 million.
    CHECK(InsertCount::count() >= 2 * kPairs);
    CHECK(InsertCount::count() <= 4 * kPairs);
    CHECK(std::ranges::count(verdicts, Verdict::delivered, &Verdict::kind) == kPairs);
    CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == std::to_string(kPairs));
  }
}

TEST_CASE("sqlite: a locked database blocks no worker after the stop, and all events are to be tried again") {
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
  const std::array factories{sluice::sqlite::sinks_for(url_of(dir / "db")),
                             sluice::sqlite::sinks_for(url_of(dir / "db"))};
  std::atomic<std::size_t> delivered{0};
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto sink = factories[t % 2]({});
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

TEST_CASE("sqlite: a batch that does not fit on the disk is tried again whole") {
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

TEST_CASE("sqlite: a renamed database keeps the events delivered to it, and a new one is created") {
  const TempDir dir;
  const auto factory = sluice::sqlite::sinks_for(url_of(dir / "db"));
  auto one = factory({});
  auto two = factory({});
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

TEST_CASE("sqlite: a deleted database is created again, and an idle connection to the old one does no harm") {
  const TempDir dir;
  const auto factory = sluice::sqlite::sinks_for(url_of(dir / "db"));
  const auto one = factory({});
  auto idle = factory({});
  deliver(*one, Batch(1).add("1"));
  deliver(*idle, Batch(2).add("2"));
  std::filesystem::remove(dir / "db");
  CHECK(all(deliver(*one, Batch(3).add("3")), Verdict::delivered));
  idle.reset();
  CHECK(all(deliver(*one, Batch(4).add("4")), Verdict::delivered));
  CHECK(payloads(dir / "db") == "3,4");
  CHECK(Reader(dir / "db").ask("PRAGMA integrity_check") == "ok");
}

TEST_CASE("sqlite: a dropped table is created again") {
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

TEST_CASE("sqlite: a file that cannot be opened or has another table refuses the start with the reason") {
  const TempDir dir;
  const Refusal missing = refusal_of(url_of(dir / "no/db"));
  CHECK(missing.kind == sluice::StartError::Kind::io);
  CHECK(missing.what == "open " + (dir / "no/db") + ": unable to open database file: No such file or directory");

  write_file(dir / "text", std::string(5000, 'x'));
  const Refusal text = refusal_of(url_of(dir / "text"));
  CHECK(text.kind == sluice::StartError::Kind::unusable);
  CHECK(text.what == "open " + (dir / "text") + ": file is not a database");
  CHECK(content(dir / "text") == std::string(5000, 'x'));

  Reader(dir / "other").run("CREATE TABLE events(id INTEGER PRIMARY KEY, what)");
  const Refusal other = refusal_of(url_of(dir / "other"));
  CHECK(other.kind == sluice::StartError::Kind::unusable);
  CHECK(other.what.starts_with("open " + (dir / "other") + ": table events has no column named"));

  Reader(dir / "loose").run("CREATE TABLE events(id, received_at, content_type, payload)");
  CHECK(refusal_of(url_of(dir / "loose")).kind == sluice::StartError::Kind::unusable);
}

// A sink's context whose log stands in a vector.
struct Told {
  std::mutex mutex;
  std::vector<std::string> lines;  // guarded by mutex
  sluice::SinkContext context;

  explicit Told(sluice::Ack ack = sluice::Ack::queued) {
    context.ack = ack;
    context.log = [this](sluice::LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex);
      lines.emplace_back(line);
    };
  }
};

TEST_CASE("sqlite: a database that is locked at the start does not delay it, and gets its events once it is free") {
  const TempDir dir;
  Reader other(dir / "db");
  other.run("BEGIN EXCLUSIVE");
  Told told;
  const auto factory = sluice::sqlite::sinks_for(url_of(dir / "db"));
  constexpr std::size_t kWorkers = 8;
  std::vector<std::unique_ptr<sluice::Sink>> sinks(kWorkers);
  const auto began = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    for (auto& sink : sinks) threads.emplace_back([&] { sink = factory(told.context); });
  }
  CHECK(std::chrono::steady_clock::now() - began < 1s);  // with a patience of its own for each worker: 40 s
  REQUIRE(told.lines.size() == 1);
  CHECK(told.lines[0] == "the sink does not work yet, events wait: open " + (dir / "db") + ": database is locked");
  std::stop_source stop;
  stop.request_stop();
  const auto verdicts = deliver(*sinks[0], Batch(1).add("1"), stop.get_token());
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() == "open " + (dir / "db") + ": database is locked");
  other.run("COMMIT");
  for (std::uint64_t i = 0; i < kWorkers; ++i) {
    CHECK(all(deliver(*sinks[i], Batch(1 + i).add("1")), Verdict::delivered));
  }
  CHECK(Reader(dir / "db").ask("SELECT count(*) FROM events") == "8");
  REQUIRE(told.lines.size() == 2);
  CHECK(told.lines[1] == "the sink works: opened " + (dir / "db"));
}

TEST_CASE("sqlite: all sinks of a database share one wait for its lock") {
  const TempDir dir;
  const auto factory = sluice::sqlite::sinks_for(url_of(dir / "db"));
  std::vector<std::unique_ptr<sluice::Sink>> sinks(8);
  for (auto& sink : sinks) sink = factory({});
  Reader other(dir / "db");
  other.run("BEGIN IMMEDIATE");
  std::atomic<std::size_t> again{0};
  const auto began = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    for (auto& sink : sinks) {
      threads.emplace_back([&] { again += all(deliver(*sink, Batch().add("1")), Verdict::try_again) ? 1 : 0; });
    }
  }
  CHECK(again == 8);
  CHECK(std::chrono::steady_clock::now() - began > 4s);
  CHECK(std::chrono::steady_clock::now() - began < 8s);  // one after the other: 40 s
  other.run("COMMIT");
  CHECK(all(deliver(*sinks[0], Batch().add("1")), Verdict::delivered));
}

TEST_CASE("sqlite: a full disk does not refuse the start, and the first events wait for it") {
  const TempDir dir;
  std::unique_ptr<sluice::Sink> sink;
  Told told;
  {
    const FileSizeLimit limit(100);
    sink = sqlite_sink(dir / "db", told.context);
    CHECK(all(deliver(*sink, Batch().add("1")), Verdict::try_again));
  }
  CHECK(told.lines.size() == 1);
  CHECK(all(deliver(*sink, Batch().add("1")), Verdict::delivered));
}

// The payloads that a kill -9 of this process at this moment would leave to the next one. By programs of their own:
// closing a file takes away the locks that SQLite has on it in the same process.
std::string after_kill(const TempDir& dir) {
  static int number = 0;
  const std::string to = dir / ("killed-" + std::to_string(++number));
  const std::string copy = "cp " + (dir / "db") + ' ' + to + "; cp " + (dir / "db-wal") + ' ' + to + "-wal 2>/dev/null";
  static_cast<void>(!std::system(copy.c_str()));
  Reader left(to);
  if (left.ask("SELECT count(*) FROM sqlite_master") == "0") return "no table";
  return left.ask("SELECT payload FROM events ORDER BY rowid");
}

TEST_CASE("sqlite: events delivered before and after the log or index was removed survive a kill") {
  struct Removed {
    bool log, index, replaced;
  };
  for (const auto& [log, index, replaced] : {Removed{true, true, false}, Removed{true, false, false},
                                             Removed{false, true, false}, Removed{true, true, true}}) {
    CAPTURE(log);
    CAPTURE(index);
    CAPTURE(replaced);
    const TempDir dir;
    Told told;
    const auto factory = sluice::sqlite::sinks_for(url_of(dir / "db"));
    auto one = factory(told.context);
    auto two = factory(told.context);
    deliver(*one, Batch(1).add("1"));
    deliver(*two, Batch(2).add("2"));
    if (log) std::filesystem::remove(dir / "db-wal");
    if (index) std::filesystem::remove(dir / "db-shm");
    if (replaced) write_file(dir / "db-wal", "");
    CHECK(all(deliver(*one, Batch(3).add("3")), Verdict::delivered));
    CHECK(after_kill(dir) == "1,2,3");
    CHECK(all(deliver(*two, Batch(4).add("4")), Verdict::delivered));
    CHECK(after_kill(dir) == "1,2,3,4");
    REQUIRE(told.lines.size() == 1);
    CHECK(told.lines[0].starts_with("opened " + (dir / "db") + " anew: " + (dir / (log ? "db-wal" : "db-shm")) +
                                    " was deleted or replaced"));
    one.reset();
    two.reset();
    CHECK(payloads(dir / "db") == "1,2,3,4");
    CHECK(Reader(dir / "db").ask("PRAGMA integrity_check") == "ok");
  }
}

TEST_CASE("sqlite: a log that is removed while a batch is written loses none of it") {
  const TempDir dir;
  sluice::SinkContext context;
  bool removed = false;
  // It is told of the new connection after it has looked at the files, and before it writes.
  context.log = [&](sluice::LogLevel, std::string_view) {
    removed = std::filesystem::remove(dir / "db-wal") && std::filesystem::remove(dir / "db-shm");
  };
  const auto sink = sqlite_sink(dir / "db", context);
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::remove(dir / "db-shm");
  const auto verdicts = deliver(*sink, Batch(2).add("2"));
  REQUIRE(removed);
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() == "write " + (dir / "db") + ": a file beside it was deleted or replaced");
  removed = false;
}

TEST_CASE("sqlite: a removed log that a reader still needs is kept, and its events are not lost") {
  const TempDir dir;
  const auto sink = sqlite_sink(dir / "db");
  Reader reader(dir / "db");
  deliver(*sink, Batch(1).add("1"));
  reader.run("BEGIN");
  CHECK(reader.ask("SELECT count(*) FROM events") == "1");
  deliver(*sink, Batch(2).add("2"));
  std::filesystem::remove(dir / "db-wal");
  std::stop_source stop;
  stop.request_stop();
  CHECK(all(deliver(*sink, Batch(3).add("3"), stop.get_token()), Verdict::try_again));
  reader.run("COMMIT");
  CHECK(all(deliver(*sink, Batch(3).add("3")), Verdict::delivered));
  CHECK(after_kill(dir) == "1,2,3");
}

TEST_CASE("sqlite: an idle sink saves its events from a removed log before other events come") {
  const TempDir dir;
  Told told;
  const auto sink = sqlite_sink(dir / "db", told.context);
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::remove(dir / "db-wal");
  std::filesystem::remove(dir / "db-shm");
  // No later than a minute of a busy machine; mostly within a millisecond.
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (after_kill(dir) != "1" && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  CHECK(after_kill(dir) == "1");
  CHECK(all(deliver(*sink, Batch(2).add("2")), Verdict::delivered));
  CHECK(payloads(dir / "db") == "1,2");
  CHECK(told.lines.size() == 1);
}

TEST_CASE("sqlite: a sink that ends beside a removed log leaves its events in the database") {
  const TempDir dir;
  auto sink = sqlite_sink(dir / "db");
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::remove(dir / "db-wal");
  std::filesystem::remove(dir / "db-shm");
  sink.reset();
  CHECK(payloads(dir / "db") == "1");
}

}  // namespace
