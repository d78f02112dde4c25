// The real disk under the journal: the lock on its directory, and which names are synced before an event depends on
// them.
#include "journal/posix_disk.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "journal/state_dir.h"
#include "support/temp_dir.h"
#include "sync_spy.h"

using sluice::PosixDisk;
using sluice::StateDir;

TEST_SUITE("posix_disk") {
  TEST_CASE("posix_disk: a journal that two state directories lead to is held by one of them, whatever goes missing") {
    const test::TempDir dir;
    StateDir first(dir.path() / "first");
    StateDir second(dir.path() / "second");
    std::filesystem::create_directory_symlink(dir.path() / "first" / "journal", dir.path() / "second" / "journal");
    std::optional<PosixDisk> holder(std::in_place, first);
    REQUIRE_FALSE(holder->hold());
    PosixDisk other(second);
    CHECK(other.hold() == std::errc::operation_would_block);
    std::filesystem::remove(dir.path() / "first" / "lock");
    std::filesystem::remove(dir.path() / "second" / "lock");
    CHECK(other.hold() == std::errc::operation_would_block);
    CHECK_FALSE(holder->hold());
    CHECK(other.hold() == std::errc::operation_would_block);
    holder.reset();
    CHECK_FALSE(other.hold());
  }

  TEST_CASE("posix_disk: a journal's directory that was removed is made and held anew") {
    const test::TempDir dir;
    StateDir state(dir.path() / "state");
    StateDir second(dir.path() / "second");
    std::filesystem::create_directory_symlink(dir.path() / "state" / "journal", dir.path() / "second" / "journal");
    PosixDisk holder(state);
    REQUIRE_FALSE(holder.hold());
    std::filesystem::remove_all(dir.path() / "state" / "journal");
    REQUIRE_FALSE(holder.hold());
    CHECK(std::filesystem::is_directory(dir.path() / "state" / "journal"));
    CHECK(PosixDisk(second).hold() == std::errc::operation_would_block);
  }

  TEST_CASE(
      "posix_disk: the names of directories that an earlier start made, and did not sync, are synced at the next") {
    const test::TempDir dir;
    const auto path = dir.path() / "home" / "local" / "state";
    std::filesystem::create_directories(path / "journal");
    StateDir state(path);
    PosixDisk disk(state);
    SyncSpy spy;
    REQUIRE_FALSE(disk.hold());
    spy.fail_once("local", EIO);
    CHECK(disk.sync_directory() == std::errc::io_error);  // so nothing is acknowledged
    CHECK(spy.count("journal") == 0);
    REQUIRE_FALSE(disk.sync_directory());
    std::vector<std::string> synced = spy.take();
    REQUIRE(synced.size() >= 5);
    CHECK(synced.back() == "journal");
    const std::vector<std::string> above{"state", "local", "home", dir.path().filename().string()};
    CHECK(std::ranges::equal(std::span(synced).first(4), above));

    // Once is enough, while they are there.
    REQUIRE_FALSE(disk.sync_directory());
    CHECK(spy.take() == std::vector<std::string>{"journal"});
    std::filesystem::remove_all(dir.path() / "home");
    REQUIRE_FALSE(disk.hold());
    REQUIRE_FALSE(disk.sync_directory());
    synced = spy.take();
    REQUIRE(synced.size() >= 5);
    CHECK(std::ranges::equal(std::span(synced).first(4), above));
  }

  TEST_CASE("posix_disk: a journal is read before the names above it can be synced") {
    const test::TempDir dir;
    StateDir state(dir.path() / "state");
    PosixDisk disk(state);
    SyncSpy spy;
    spy.fail_once("state", EIO);
    CHECK_FALSE(disk.hold());
    std::vector<std::string> names;
    CHECK_FALSE(disk.list(names));
  }
}
