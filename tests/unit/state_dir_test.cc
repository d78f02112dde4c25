// Who holds a state directory: one process, whatever happens to the files in it.
#include "journal/state_dir.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "sluice/error.h"
#include "support/temp_dir.h"

using sluice::StartError;
using sluice::StateDir;

namespace {

// What it is refused for; nothing if it is not.
std::optional<StartError::Kind> refused(const std::filesystem::path& path) {
  try {
    const StateDir other(path);
    return std::nullopt;
  } catch (const StartError& error) {
    return error.kind();
  }
}

}  // namespace

TEST_SUITE("state_dir") {
  TEST_CASE("state_dir: a directory that is held is refused, also when its lock file was removed") {
    const test::TempDir dir;
    std::optional<StateDir> holder(std::in_place, dir.path() / "state");
    CHECK(refused(dir.path() / "state") == StartError::Kind::in_use);
    std::filesystem::remove(dir.path() / "state" / "lock");
    CHECK(refused(dir.path() / "state") == StartError::Kind::in_use);
    CHECK_FALSE(holder->hold());
    CHECK(refused(dir.path() / "state") == StartError::Kind::in_use);
    holder.reset();
    CHECK_FALSE(refused(dir.path() / "state"));
  }

  TEST_CASE("state_dir: a directory whose file alone is locked is refused") {
    // By a version that knew no other lock, or where a directory cannot be locked.
    const test::TempDir dir;
    const auto state = dir.path() / "state";
    const StateDir holder(state);
    std::filesystem::rename(state, dir.path() / "moved");
    std::filesystem::create_directory(state);
    std::filesystem::create_hard_link(dir.path() / "moved" / "lock", state / "lock");
    CHECK(refused(state) == StartError::Kind::in_use);
  }

  TEST_CASE("state_dir: one that was removed is made and held anew, but not if another holds what is there by then") {
    const test::TempDir dir;
    const auto state = dir.path() / "state";
    StateDir holder(state);
    std::filesystem::remove_all(state);
    {
      const StateDir quicker(state);
      CHECK(holder.hold() == std::errc::operation_would_block);
    }
    CHECK_FALSE(holder.hold());
    CHECK(refused(state) == StartError::Kind::in_use);
  }

  TEST_CASE("state_dir: a path that is no directory is a wrong option, not trouble that ends") {
    const test::TempDir dir;
    std::ofstream(dir.path() / "file") << "x";
    CHECK(refused(dir.path() / "file") == StartError::Kind::unusable);
    CHECK(refused(dir.path() / "file" / "below") == StartError::Kind::unusable);
  }

  TEST_CASE("state_dir: where no directory can ever be made the start is refused") {
    CHECK(refused("/proc/x") == StartError::Kind::io);
  }

  TEST_CASE("state_dir: one that cannot be made is no reason not to start, and held as soon as it can be") {
    const test::TempDir dir;
    const auto link = dir.path() / "link";
    std::filesystem::create_symlink(dir.path() / "nowhere" / "state", link);
    StateDir waiting(link);
    CHECK(waiting.hold());
    std::filesystem::create_directories(dir.path() / "nowhere" / "state");
    CHECK_FALSE(waiting.hold());
    CHECK(refused(link) == StartError::Kind::in_use);
  }
}
