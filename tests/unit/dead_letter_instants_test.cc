// A worker buries an event while what stays of the dead letters is copied. The file of dead letters is compiled here a
// second time, with its instant (admission/instant.h) alive: behind each round of the copy.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/temp_dir.h"

namespace {
std::function<void()> at_instant;
}

#define SLUICE_INSTANT(name) (at_instant ? at_instant() : void())
#define sluice sluice_with_dead_letter_instants
#include "event.cc"
#include "sinks/content.cc"
#include "sinks/dead_letter_entry.cc"
#include "sinks/dead_letter_file.cc"
#include "sinks/json_line.cc"
#include "sinks/line_file.cc"
#include "sinks/line_tail.cc"
#include "sinks/pieces.cc"
#include "text/base64.cc"
#include "text/json_check.cc"
#include "text/json_string.cc"
#include "text/media_type.cc"
#include "text/rfc3339.cc"
#include "text/utf8.cc"

namespace {

using namespace std::chrono_literals;
using sluice::DeadLetterFile;

std::error_code append(DeadLetterFile& file, std::uint64_t sequence, std::string_view payload) {
  const sluice::Delivery delivery{.payload = sluice::Event(payload).payload,
                                  .content_type = "text/plain",
                                  .id = {{{1, 2, 3}}, sequence},
                                  .received = {},
                                  .attempt = 1};
  const sluice::DeadLetter one{delivery, "no"};
  return file.append({&one, 1});
}

std::vector<std::string> ids_in(const test::TempDir& state) {
  std::vector<std::string> ids;
  std::ifstream in(state / "dead-letter.ndjson");
  for (std::string line; std::getline(in, line);) ids.push_back(line.substr(7 + 37, line.find('"', 7) - 7 - 37));
  return ids;
}

// Letters 1 to 5, more behind the first than is copied with the lock held.
void fill(DeadLetterFile& file) {
  const std::string large(std::size_t{1} << 20U, 'x');
  for (std::uint64_t i = 1; i <= 5; ++i) REQUIRE_FALSE(append(file, i, large));
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE(
    "dead letters: a worker that buries an event does not wait for the copy of what stays, and its letter stays") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  fill(file);
  int rounds = 0;
  bool waited = false;
  std::future<std::error_code> late;
  at_instant = [&] {
    if (++rounds > 1) return;
    late = std::async(std::launch::async, [&] { return append(file, 6, "late"); });
    waited = late.wait_for(20s) != std::future_status::ready;
  };
  const auto moved = file.drop(1);
  at_instant = {};
  REQUIRE(late.valid());
  CHECK_FALSE(late.get());
  CHECK_FALSE(waited);
  CHECK(rounds == 1);
  CHECK(moved.error.empty());
  CHECK(moved.moved == 1);
  CHECK(moved.left == 4);
  CHECK(ids_in(state) == Ids{"2", "3", "4", "5", "6"});
  CHECK_FALSE(append(file, 7, "behind"));
  CHECK(ids_in(state).back() == "7");
  CHECK_FALSE(std::filesystem::exists(state / "dead-letter.ndjson.draft"));
}

TEST_CASE("dead letters: what comes faster than it is copied is copied whole, in its order, in the end") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  fill(file);
  const std::string large(std::size_t{1} << 21U, 'x');
  std::uint64_t next = 6;
  at_instant = [&] {
    if (next < 10) CHECK_FALSE(append(file, next++, large));
  };
  CHECK(file.drop(2).error.empty());
  at_instant = {};
  CHECK(ids_in(state) == Ids{"3", "4", "5", "6", "7", "8", "9"});
}

TEST_CASE("dead letters: a file that became another one during the copy is not replaced, and no draft is left") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  fill(file);
  bool first = true;
  at_instant = [&] {
    if (!std::exchange(first, false)) return;
    std::filesystem::rename(state / "dead-letter.ndjson", state / "moved");
    CHECK_FALSE(append(file, 6, "late"));
  };
  CHECK_FALSE(file.drop(1).error.empty());
  at_instant = {};
  CHECK(ids_in(state) == Ids{"6"});
  CHECK_FALSE(std::filesystem::exists(state / "dead-letter.ndjson.draft"));
}
