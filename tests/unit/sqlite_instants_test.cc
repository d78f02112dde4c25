// Another process uses a database whose log was removed, at the worst instant: after our look at the new log, before
// the checkpoint of ours. The connection is compiled here a second time, with its instant (admission/instant.h) alive.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "support/database.h"
#include "support/temp_dir.h"

namespace {
std::function<void()> at_instant;
}

#define SLUICE_INSTANT(name) (at_instant ? at_instant() : void())
#define sluice sluice_with_sqlite_instants
#include "event.cc"
#include "sinks/content.cc"
#include "sinks/descriptor.cc"
#include "sinks/sqlite_connection.cc"
#include "sinks/sqlite_files.cc"
#include "text/media_type.cc"
#include "text/rfc3339.cc"
#include "text/utf8.cc"

namespace {

using namespace std::chrono_literals;
using sluice::SqliteConnection;
using test::Database;
using test::TempDir;

constexpr int kEvents = 100;

void write(SqliteConnection& connection, std::uint64_t first) {
  REQUIRE(connection.begin(false).ok());
  for (std::uint64_t i = 0; i < kEvents; ++i) {
    sluice::Delivery event;
    event.id = sluice::EventId{{}, first + i};
    event.content_type = "text/plain";
    REQUIRE(connection.insert(event).ok());
  }
  REQUIRE(connection.commit().ok());
}

// Another process, which opens the database when it is first told something. To be made before this process has opened
// it: a child would take over what SQLite knows of open files.
class OtherProcess {
 public:
  explicit OtherProcess(const std::string& path) {
    REQUIRE(::pipe(to_.data()) == 0);
    REQUIRE(::pipe(from_.data()) == 0);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ > 0) return;
    ::close(to_[1]);
    sqlite3* database = nullptr;
    std::array<char, 256> sql{};
    while (::read(to_[0], sql.data(), sql.size()) == static_cast<ssize_t>(sql.size())) {
      const bool opened = database != nullptr || sqlite3_open(path.c_str(), &database) == SQLITE_OK;
      const char ok = opened && sqlite3_exec(database, sql.data(), nullptr, nullptr, nullptr) == SQLITE_OK ? 'y' : 'n';
      if (::write(from_[1], &ok, 1) != 1) break;
    }
    ::_exit(0);  // as a kill would end it: it tidies up nothing
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  ~OtherProcess() {
    for (const int fd : {to_[0], to_[1], from_[0], from_[1]}) ::close(fd);
    ::waitpid(child_, nullptr, 0);
  }

  [[nodiscard]] bool run(std::string_view sql) const {
    std::array<char, 256> line{};
    REQUIRE(sql.size() < line.size());
    std::ranges::copy(sql, line.begin());
    REQUIRE(::write(to_[1], line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    char answer = 0;
    REQUIRE(::read(from_[0], &answer, 1) == 1);
    return answer == 'y';
  }

 private:
  std::array<int, 2> to_{}, from_{};
  pid_t child_ = -1;
};

constexpr const char* kHisTable = "CREATE TABLE his(x); INSERT INTO his VALUES(7)";

TEST_CASE("sqlite: nobody can write between the check of a new log and the checkpoint of the removed one") {
  for (const bool index_too : {false, true}) {
    CAPTURE(index_too);
    const TempDir dir;
    const OtherProcess other(dir / "db");
    auto connection = std::make_unique<SqliteConnection>(dir / "db", SqliteConnection::LockWait{50ms, {}});
    write(*connection, 1);
    // Else he could not write by our index.
    REQUIRE(Database(dir / "db").ask("PRAGMA wal_checkpoint").starts_with("0,"));
    if (index_too) write(*connection, 1000);
    std::filesystem::remove(dir / "db-wal");
    if (index_too) std::filesystem::remove(dir / "db-shm");

    bool came = false;
    bool wrote = false;
    at_instant = [&] {
      came = true;
      wrote = other.run(kHisTable);
    };
    std::string news;
    CHECK(connection->leave(news).ok());
    at_instant = nullptr;
    CHECK(came);
    CHECK(!wrote);
    CHECK(other.run(kHisTable));
    connection.reset();
    Database reader(dir / "db");
    CHECK(reader.ask("SELECT x FROM his") == "7");
    CHECK(reader.ask("SELECT count(*) FROM events") == std::to_string(index_too ? 2 * kEvents : kEvents));
    CHECK(reader.ask("PRAGMA integrity_check") == "ok");
    CHECK(!std::filesystem::exists(dir / "db.rescued-1"));
  }
}

TEST_CASE("sqlite: a removed log is copied aside, not into a database that others have open with another index") {
  const TempDir dir;
  const OtherProcess other(dir / "db");
  auto connection = std::make_unique<SqliteConnection>(dir / "db", SqliteConnection::LockWait{50ms, {}});
  write(*connection, 1);
  std::filesystem::remove(dir / "db-wal");
  std::filesystem::remove(dir / "db-shm");
  REQUIRE(other.run("SELECT count(*) FROM sqlite_master"));  // he has opened it, and written nothing
  std::string news;
  CHECK(connection->leave(news).ok());
  CHECK(news == "opened " + (dir / "db") + " anew: " + (dir / "db-wal") +
                    " was deleted while others had it open; all that was in the database before is in " +
                    (dir / "db.rescued-1"));
  CHECK(Database(dir / "db.rescued-1").ask("SELECT count(*) FROM events") == std::to_string(kEvents));
  CHECK(other.run(kHisTable));
  connection.reset();
  CHECK(Database(dir / "db").ask("PRAGMA integrity_check") == "ok");
}

TEST_CASE("sqlite: a removed log is copied aside if another process wrote a new one and ended") {
  const TempDir dir;
  auto other = std::make_unique<OtherProcess>(dir / "db");
  auto connection = std::make_unique<SqliteConnection>(dir / "db", SqliteConnection::LockWait{50ms, {}});
  write(*connection, 1);
  REQUIRE(Database(dir / "db").ask("PRAGMA wal_checkpoint").starts_with("0,"));
  write(*connection, 1000);
  std::filesystem::remove(dir / "db-wal");
  std::filesystem::remove(dir / "db-shm");
  REQUIRE(other->run(kHisTable));
  other.reset();
  std::string news;
  CHECK(connection->leave(news).ok());
  connection.reset();
  CHECK(Database(dir / "db.rescued-1").ask("SELECT count(*) FROM events") == std::to_string(2 * kEvents));
  Database reader(dir / "db");
  CHECK(reader.ask("SELECT x FROM his") == "7");
  CHECK(reader.ask("PRAGMA integrity_check") == "ok");
}

TEST_CASE("sqlite: a removed log waits for a process that writes with our index, and stays until it is saved") {
  const TempDir dir;
  SqliteConnection connection(dir / "db", {50ms, {}});
  write(connection, 1);
  Database other(dir / "db");
  other.run("BEGIN IMMEDIATE");
  std::filesystem::remove(dir / "db-wal");
  std::string news;
  CHECK(connection.leave(news).kind == SqliteConnection::Outcome::locked);
  other.run("ROLLBACK");
  CHECK(connection.leave(news).ok());
  CHECK(Database(dir / "db").ask("SELECT count(*) FROM events") == std::to_string(kEvents));
}

}  // namespace
