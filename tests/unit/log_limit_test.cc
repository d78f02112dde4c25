// What others can cause without bound leaves a bounded log: when a line is due, and what it counts.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "sluice/log_limit.h"
#include "unit/pool_support.h"

namespace {

using namespace std::chrono_literals;
using sluice::LogLimit;

constexpr LogLimit::Clock::time_point kNow{std::chrono::hours{1}};

// The number behind `events=` in each line that has `text`.
std::vector<std::uint64_t> counts_in(const std::vector<std::string>& lines, std::string_view text) {
  std::vector<std::uint64_t> counts;
  for (const std::string& line : lines) {
    if (line.find(text) != std::string::npos) counts.push_back(std::stoull(line.substr(line.find("events=") + 7)));
  }
  return counts;
}

}  // namespace

TEST_CASE("log limit: the first is told at once, and what comes within an interval with the next line") {
  LogLimit limit(1s);
  CHECK(limit.rest_due() == LogLimit::Clock::time_point::max());
  CHECK(limit.tell(3, kNow) == 3);
  CHECK(limit.tell(2, kNow + 500ms) == 0);
  CHECK(limit.tell(1, kNow + 999ms) == 0);
  CHECK(limit.tell(4, kNow + 1s) == 7);
  CHECK(limit.tell(1, kNow + 5s) == 1);  // a burst of its own
}

TEST_CASE("log limit: the end of a burst is counted once, when a line is due again") {
  LogLimit limit(1s);
  CHECK(limit.tell(1, kNow) == 1);
  CHECK(limit.tell_rest(kNow + 2s) == 0);
  CHECK(limit.tell(9, kNow + 2500ms) == 9);
  CHECK(limit.tell(5, kNow + 3s) == 0);
  CHECK(limit.rest_due() == kNow + 3500ms);
  CHECK(limit.tell_rest(kNow + 3400ms) == 0);
  CHECK(limit.tell_rest(kNow + 3500ms) == 5);
  CHECK(limit.rest_due() == LogLimit::Clock::time_point::max());
  CHECK(limit.tell_rest(kNow + 9s) == 0);
  CHECK(limit.tell(1, kNow + 4s) == 0);  // the rest was a line, too
}

TEST_CASE("pool: events that a sink refuses without end are a line a second, and all of them are counted") {
  std::mutex mutex;
  std::vector<std::string> lines;
  sluice::Options options = test::quiet();
  options.batch_events = 10;
  options.log = [&](sluice::LogLevel, std::string_view line) {
    const std::lock_guard lock(mutex);
    lines.emplace_back(line);
  };
  const auto rig = std::make_shared<test::Rig>(options);
  const auto began = std::chrono::steady_clock::now();
  rig->start(test::sinks([](auto, std::span<sluice::Verdict> verdicts, auto) {
    for (sluice::Verdict& verdict : verdicts) verdict = {sluice::Verdict::refused, "it is no invoice"};
  }));
  constexpr std::uint64_t kEvents = 5000;
  for (std::uint64_t i = 0; i < kEvents; ++i) rig->track("an event");
  CHECK(test::eventually([&] { return rig->ledger.finished().dead == kEvents; }));
  // Nobody else comes, and still the end of the burst is told.
  const auto told = [&] {
    const std::lock_guard lock(mutex);
    std::uint64_t sum = 0;
    for (const std::uint64_t one : counts_in(lines, "dead ")) sum += one;
    return sum;
  };
  CHECK(test::eventually([&] { return told() == kEvents; }));
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  static_cast<void>(rig->end());
  const std::lock_guard lock(mutex);
  CHECK(lines.size() <= static_cast<std::size_t>(seconds) + 2);
  CHECK(lines.front().starts_with("event is dead id="));
  CHECK(lines.front().find("reason=\"it is no invoice\"") != std::string::npos);
  CHECK(lines.front().find("an event") == std::string::npos);
}

TEST_CASE("pool: a stop tells the end of a burst of dead events before the second is over") {
  std::mutex mutex;
  std::vector<std::string> lines;
  sluice::Options options = test::quiet();
  options.batch_events = 1;
  options.log = [&](sluice::LogLevel, std::string_view line) {
    const std::lock_guard lock(mutex);
    lines.emplace_back(line);
  };
  const auto rig = std::make_shared<test::Rig>(options);
  rig->start(test::sinks([](auto, std::span<sluice::Verdict> verdicts, auto) {
    for (sluice::Verdict& verdict : verdicts) verdict = {sluice::Verdict::refused, "no"};
  }));
  for (int i = 0; i < 100; ++i) rig->track("an event");
  CHECK(test::eventually([&] { return rig->ledger.finished().dead == 100; }));
  static_cast<void>(rig->end());
  std::uint64_t sum = 0;
  for (const std::uint64_t one : counts_in(lines, "dead ")) sum += one;
  CHECK(sum == 100);
}
