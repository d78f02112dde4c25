// Files of the journal that somebody removes under the running daemon: a cleaner of temporary files, a careless hand.
// What no disk holds by a name is not kept: it is written anew, or it is lost and the exit code says so.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/lives.h"
#include "support/temp_dir.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::lines_with;
using test::Lives;

constexpr std::size_t kEvents = 4200;  // over several segments of 256 KiB
const std::string kTakesNothing = "null:?delay=1h";

std::vector<std::filesystem::path> segments_in(const std::filesystem::path& journal) {
  std::vector<std::filesystem::path> segments;
  for (const auto& entry : std::filesystem::directory_iterator(journal)) {
    if (!entry.path().has_extension()) segments.push_back(entry.path());
  }
  std::ranges::sort(segments);
  return segments;
}

test::Flags flags() { return {"--overflow", "disk", "--journal-bytes", "2MiB", "-t", "500ms"}; }

void feed(const Daemon& daemon) {
  test::Client client(daemon.address());
  for (std::size_t k = 0; k < kEvents; k += 100) REQUIRE(client.ask(test::batch(k, 100, 150)).status == 202);
}

}  // namespace

TEST_SUITE("daemon.removed") {
  TEST_CASE("removed: a sealed segment that a cleaner has removed is written anew, and the next start has its events") {
    for (const bool at_the_stop : {false, true}) {
      CAPTURE(at_the_stop);
      const Lives lives(flags());
      std::size_t kept = 0;
      {
        Daemon daemon(lives.flags(kTakesNothing));
        feed(daemon);
        const auto segments = segments_in(lives.journal());
        REQUIRE(segments.size() >= 3);
        std::filesystem::remove(segments[0]);
        std::filesystem::remove(segments[1]);
        if (!at_the_stop) CHECK(daemon.process().wait_line("somebody has removed", 10s));
        const test::Ended ended = daemon.stop();
        INFO("it said:\n", ended.errors);
        REQUIRE(ended.report);
        CHECK(ended.code == 3);
        CHECK(ended.report->balanced());
        CHECK(ended.report->lost == 0);
        CHECK(lines_with(ended.errors, "somebody has removed segment-") == 2);
        kept = ended.report->kept;
        CHECK(kept == kEvents);
      }
      lives.drain(lives.sqlite(), kept);
      lives.check_sqlite(kEvents);
    }
  }

  TEST_CASE(
      "removed: with the state directory gone, and a file in its parent's place, events are lost, and exit is 4") {
    const test::TempDir dir;
    const std::filesystem::path parent = dir.path() / "parent";
    std::filesystem::create_directory(parent);
    const Lives lives(flags(), parent);
    Daemon daemon(lives.flags(kTakesNothing));
    feed(daemon);
    std::filesystem::remove_all(parent);
    { const std::ofstream in_its_place(parent); }
    CHECK(test::ask_until(daemon.admin(), test::get("/readyz"), 503, 10s).status ==
          503);  // and nobody has sent anything
    const test::Ended ended = daemon.stop();
    INFO("it said:\n", ended.errors);
    REQUIRE(ended.report);
    CHECK(ended.code == 4);
    CHECK(ended.report->balanced());
    CHECK(ended.report->kept == 0);
    CHECK(ended.report->lost == kEvents);
  }
}
