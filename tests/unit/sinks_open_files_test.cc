// What the users of one file share: that there is never a second one, not even while the first is being destroyed.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "sinks/open_files.h"
#include "sinks_support.h"

namespace {

using namespace sinks_test;
using namespace std::chrono_literals;

struct Thing {
  explicit Thing(std::function<void()> at_end) : end(std::move(at_end)) {}
  Thing(const Thing&) = delete;
  Thing& operator=(const Thing&) = delete;
  ~Thing() { end(); }
  std::function<void()> end;
};
using Files = sluice::OpenFiles<Thing>;

std::unique_ptr<Thing> make_thing() {
  return std::make_unique<Thing>([] {});
}

TEST_CASE("open files: open() waits while the last user destroys the object") {
  const TempDir dir;
  Files files;
  std::mutex mutex;
  std::condition_variable changed;
  bool made = false;
  bool destroyed = false;
  bool made_too_early = false;
  std::shared_ptr<Thing> next;
  std::jthread asks;
  const auto make_next = [&] {
    const std::lock_guard lock(mutex);
    made = true;
    made_too_early = !destroyed;
    changed.notify_all();
    return make_thing();
  };
  auto first = files.open(dir / "x", [&] {
    return std::make_unique<Thing>([&] {
      asks = std::jthread([&] { next = files.open(dir / "x", make_next); });
      std::unique_lock lock(mutex);
      // Up to the fault, or for as long as that would take at most.
      changed.wait_for(lock, 200ms, [&] { return made; });
      destroyed = true;
    });
  });
  first.reset();
  asks.join();
  CHECK(made);
  CHECK_FALSE(made_too_early);
  CHECK(next != nullptr);
}

TEST_CASE("open files: an object that could not be created makes nobody wait") {
  const TempDir dir;
  Files files;
  const auto fail = []() -> std::unique_ptr<Thing> { throw std::runtime_error("no"); };
  CHECK_THROWS_AS(static_cast<void>(files.open(dir / "x", fail)), std::runtime_error);
  CHECK(files.open(dir / "x", make_thing) != nullptr);
}

TEST_CASE("open files: two names of one file share an object, two files of one name do not") {
  const TempDir dir;
  Files files;
  write_file(dir / "x", "");
  std::filesystem::create_hard_link(dir / "x", dir / "hard");
  std::filesystem::create_symlink(dir / "x", dir / "soft");
  const auto x = files.open(dir / "x", make_thing);
  for (const char* name : {"x", "./x", "hard", "soft"}) CHECK(files.open(dir / name, make_thing) == x);
  write_file(dir / "y", "");
  CHECK(files.open(dir / "y", make_thing) != x);
  // The old file by its new name: `x` will be made anew.
  std::filesystem::rename(dir / "x", dir / "x.1");
  CHECK(files.open(dir / "x.1", make_thing) != x);
  CHECK(files.open(dir / "x", make_thing) == x);
}

TEST_CASE("file: threads that create and destroy sinks on one file never find it locked by this process") {
  const TempDir dir;
  std::atomic<std::size_t> refused{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 3000; ++i) refused += refusal_of("file:" + (dir / "out")).what.empty() ? 0 : 1;
      });
    }
  }
  CHECK(refused == 0);
}

TEST_CASE("file: a hard link and the name itself share one file, and no line of either is torn or refused") {
  const TempDir dir;
  write_file(dir / "out", "");
  std::filesystem::create_hard_link(dir / "out", dir / "link");
  const auto one = sluice::sinks_for("file:" + (dir / "out"))({});
  const auto other = sluice::sinks_for("file:" + (dir / "link"))({});
  CHECK(all(deliver(*one, Batch(1).add("1")), sluice::Verdict::delivered));
  CHECK(all(deliver(*other, Batch(2).add("2")), sluice::Verdict::delivered));
  const std::string text = content(dir / "link");
  CHECK(std::count(text.begin(), text.end(), '\n') == 2);
}

}  // namespace
