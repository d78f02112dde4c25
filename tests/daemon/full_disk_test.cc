// A disk that is full, for real: a small file system of a test's own, for which it must be root. Under way 500, then
// 503 and red; green again once there is room, without a request; what was acknowledged is delivered, what was refused
// is not.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/fd.h"
#include "support/load.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::Client;
using test::Daemon;
using test::Flags;
using test::get;
using test::milliseconds;
using test::post;

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::size_t kRequest = 100;
constexpr std::size_t kMostEvents = 200'000;

// True, and said by name, where it cannot be tested.
bool cannot_mount() {
  if (::geteuid() == 0) return false;
  fmt::print("skipped: a small file system needs root\n");
  return true;
}

// A file system in memory with a file on it that takes most of the room until it is dropped.
class SmallDisk {
 public:
  SmallDisk(std::size_t bytes, std::size_t ballast) {
    const std::string options = fmt::format("size={}", bytes);
    test::must(::mount("tmpfs", path().c_str(), "tmpfs", 0, options.c_str()), "mount");
    std::ofstream(ballast_path(), std::ios::binary) << std::string(ballast, 'b');
    REQUIRE(std::filesystem::file_size(ballast_path()) == ballast);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() { ::umount2(path().c_str(), MNT_DETACH); }

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return dir_.path(); }
  void drop_ballast() const { std::filesystem::remove(ballast_path()); }
  // All that is left, but for less than a page.
  void fill() const {
    std::ofstream rest(path() / "rest", std::ios::binary);
    const std::string page(4096, 'r');
    while (rest.write(page.data(), static_cast<std::streamsize>(page.size())).flush()) {
    }
  }
  void empty_again() const { std::filesystem::remove(path() / "rest"); }

 private:
  [[nodiscard]] std::filesystem::path ballast_path() const { return path() / "ballast"; }

  test::TempDir dir_;
};

std::string batch(std::size_t first, std::size_t events) {
  std::string lines;
  const std::string end = fmt::format(",\"p\":\"{}\"}}\n", std::string(1000, 'x'));
  for (std::size_t k = first; k < first + events; ++k) lines += fmt::format("{{\"k\":{}{}", k, end);
  return post("application/x-ndjson", lines);
}

// A producer that writes down what it was told.
class Producer {
 public:
  explicit Producer(const Daemon& daemon) : address_(daemon.address()) {
    told_.of.assign(kMostEvents, test::Fate::unsent);
  }

  // One request; the status of its answer.
  int post_one() {
    REQUIRE(next_ + kRequest <= kMostEvents);
    const Answer answer = test::ask_once(address_, batch(next_, kRequest));
    const test::Fate fate = answer.status == 202                         ? test::Fate::acknowledged
                            : answer.status == 500 || answer.status == 0 ? test::Fate::unknown
                                                                         : test::Fate::refused;
    std::fill_n(told_.of.begin() + static_cast<std::ptrdiff_t>(next_), kRequest, fate);
    next_ += kRequest;
    told_.acknowledged += fate == test::Fate::acknowledged ? kRequest : 0;
    told_.unknown += fate == test::Fate::unknown ? kRequest : 0;
    ++told_.answers[answer.status];
    return answer.status;
  }

  // Posts until it is answered so; false at the limit.
  bool post_until(int status, milliseconds limit) {
    const auto until = test::Clock::now() + limit;
    while (post_one() != status) {
      if (test::Clock::now() > until) return false;
    }
    return true;
  }

  [[nodiscard]] const test::Fates& told() const noexcept { return told_; }

 private:
  std::string address_;
  std::size_t next_ = 0;
  test::Fates told_;
};

bool wait_ready(const std::string& address, milliseconds limit) {
  const auto until = test::Clock::now() + limit;
  while (test::ask_once(address, get("/readyz")).status != 200) {
    if (test::Clock::now() > until) return false;
    std::this_thread::sleep_for(10ms);  // between looks
  }
  return true;
}

void check_red(const Daemon& daemon) {
  CHECK(test::ask_once(daemon.address(), get("/readyz")).status == 503);
  CHECK(test::ask_once(daemon.admin(), get("/readyz")).status == 503);
  CHECK(test::ask_once(daemon.address(), get("/healthz")).status == 200);
}

// The stop of a life whose sink hung, then one that drains into SQLite, held against what the clients were told.
void check_kept_and_delivered(Daemon& daemon, const Flags& flags, const test::Fates& told) {
  const test::Ended ended = daemon.stop();
  INFO("it said:\n", ended.errors);
  CHECK(ended.code == 3);
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  CHECK(ended.report->lost == 0);
  CHECK(ended.report->kept >= told.acknowledged);
  CHECK(ended.report->kept <= told.acknowledged + told.unknown);

  const test::TempDir elsewhere;
  const auto database = elsewhere.path() / "sink.db";
  Flags again = flags;
  again.insert(again.end(), {"--sink", "sqlite:" + database.string()});
  Daemon next(again);
  CHECK(test::wait_status_number(next.admin(), "kept", 0, 20s));
  CHECK(next.stop().code == 0);
  const test::Disagreement found = test::compare(told, test::delivered_to_sqlite(database, told.of.size()));
  CHECK(found.missing == 0);
  CHECK(found.doubled == 0);
  CHECK(found.refused_but_there == 0);
  CHECK(found.unsent_but_there == 0);
}

Flags with_sink(Flags flags, const std::string& sink) {
  flags.insert(flags.end(), {"--sink", sink});
  return flags;
}

}  // namespace

TEST_SUITE("daemon.full_disk") {
  TEST_CASE("full disk: red and 5xx while it is full, green again without a request, all acknowledged delivered") {
    if (cannot_mount()) return;
    for (const std::string ack : {"written", "synced"}) {
      INFO("--ack ", ack);
      const SmallDisk disk(24 * kMiB, 10 * kMiB);
      const Flags flags{"--state-dir",
                        (disk.path() / "state").string(),
                        "--ack",
                        ack,
                        "-t",
                        "300ms",
                        "--journal-bytes",
                        "64MiB",
                        "--queue-events",
                        "5000"};
      Daemon daemon(with_sink(flags, "null:?hang=true"));
      Producer producer(daemon);
      CHECK(producer.post_until(503, 20s));
      CHECK(producer.told().acknowledged > 0);
      CHECK(producer.told().answers.count(429) == 0);
      check_red(daemon);
      CHECK(daemon.process().wait_line("No space left", 5s));

      disk.drop_ballast();
      CHECK(wait_ready(daemon.address(), 10s));
      CHECK(producer.post_one() == 202);
      check_kept_and_delivered(daemon, flags, producer.told());
    }
  }

  TEST_CASE("full disk: one that stays full for longer than any wait between two tries is still tried again") {
    if (cannot_mount()) return;
    const SmallDisk disk(64 * kMiB, 4096);
    const Flags flags{
        "--state-dir", (disk.path() / "state").string(), "--ack", "synced", "-t", "300ms", "--journal-bytes", "16MiB"};
    Daemon daemon(with_sink(flags, "null:?hang=true"));
    Producer producer(daemon);
    for (int i = 0; i < 20; ++i) REQUIRE(producer.post_one() == 202);
    disk.fill();
    CHECK(producer.post_until(503, 20s));
    check_red(daemon);
    std::this_thread::sleep_for(6s);  // longer than the longest wait: the tries go on
    check_red(daemon);
    disk.empty_again();
    CHECK(wait_ready(daemon.address(), 10s));
    CHECK(producer.post_one() == 202);
    check_kept_and_delivered(daemon, flags, producer.told());
  }

  TEST_CASE("full disk: at the spill of --ack queued, what the disk refuses is lost, counted, and the exit says 4") {
    if (cannot_mount()) return;
    const SmallDisk disk(24 * kMiB, 4096);
    const Flags flags{"--state-dir",
                      (disk.path() / "state").string(),
                      "--ack",
                      "queued",
                      "-t",
                      "1s",
                      "--journal-bytes",
                      "128MiB",
                      "--queue-events",
                      "60000"};
    Daemon daemon(with_sink(flags, "null:?hang=true"));
    Producer producer(daemon);
    for (int i = 0; i < 200; ++i) REQUIRE(producer.post_one() == 202);  // 20 MB in memory
    disk.fill();
    const test::Ended ended = daemon.stop();
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 4);
    REQUIRE(ended.report);
    CHECK(ended.report->balanced());
    CHECK(ended.report->accepted == 20'000);
    CHECK(ended.report->lost > 0);
    CHECK(ended.after <= 1200ms);
    disk.empty_again();

    const test::TempDir elsewhere;
    const auto database = elsewhere.path() / "sink.db";
    Daemon next(with_sink(flags, "sqlite:" + database.string()));
    CHECK(test::wait_status_number(next.admin(), "kept", 0, 20s));
    const test::Ended drained = next.stop();
    CHECK(drained.code == 0);
    REQUIRE(drained.report);
    CHECK(drained.report->replayed == ended.report->kept);  // exactly what the first said it kept
  }
}
