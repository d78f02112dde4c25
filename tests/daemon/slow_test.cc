// Slow and many: a thousand clients that do next to nothing beside one that is honest, more clients than may come, more
// than there are descriptors for. The honest one is served as if it were alone, the stop is in time in their midst, and
// afterwards all is as before. Measures time and memory, so it runs alone; a round in which a daemon without a
// crowd is as slow is run again.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/control.h"
#include "support/crowd.h"
#include "support/daemon.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::Client;
using test::Crowd;
using test::CrowdPlan;
using test::Daemon;
using test::get;
using test::milliseconds;
using test::post;

constexpr milliseconds kMostLate = 100ms;  // what the backstop may add to a deadline
constexpr milliseconds kPatience = 10s;
constexpr std::size_t kSlack = std::size_t{2} << 20U;

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// ---- what must be as before

struct Held {
  std::vector<std::string> files;
  std::size_t threads = 0, memory = 0;
};
Held held_by(Daemon& daemon) {
  return {daemon.process().open_files(), daemon.process().thread_names().size(), daemon.process().resident()};
}

// Of a daemon to which nobody has come yet; but its memory is that after it was used once, so that what each first
// request costs is not counted as growth.
Held held_at_rest(Daemon& daemon) {
  Held held = held_by(daemon);
  REQUIRE(test::ask_once(daemon.address(), post("application/json", "1")).status == 202);
  REQUIRE(test::ask_once(daemon.admin(), get("/status")).status == 200);
  held.memory = daemon.process().resident();
  return held;
}

void check_as_before(Daemon& daemon, const Held& before) {
  // Closed connections linger for a second at most, and what they had goes back to the system at the next sweep.
  for (const auto until = test::Clock::now() + kPatience; test::Clock::now() < until;) {
    if (daemon.process().open_files().size() == before.files.size() &&
        daemon.process().resident() <= before.memory + kSlack)
      break;
    std::this_thread::sleep_for(5ms);  // between looks
  }
  const Held after = held_by(daemon);
  MESSAGE("resident before ", before.memory >> 10U, " KiB, after ", after.memory >> 10U, " KiB");
  INFO("open before: ", fmt::format("{}", fmt::join(before.files, " ")));
  INFO("open after: ", fmt::format("{}", fmt::join(after.files, " ")));
  CHECK(after.files.size() == before.files.size());
  CHECK(after.threads == before.threads);
  CHECK(after.memory <= before.memory + kSlack);
}

// Stops it; nothing is lost by it.
test::Lateness stop_well(Daemon& daemon, milliseconds deadline) {
  const auto [late, ended] = test::stop_with_deadline(daemon, deadline);
  INFO("last line: ", ended.last_line);
  CHECK(ended.code == 0);
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  return late;
}

// ---- the honest client

class Honest {
 public:
  explicit Honest(const Daemon& daemon, std::string request = post("application/json", R"({"honest":true})"))
      : client_(std::in_place, daemon.address()), request_(std::move(request)) {}

  void ask() {
    const auto begun = test::Clock::now();
    const Answer answer = client_->ask(request_);
    took_.push_back(test::Clock::now() - begun);
    if (answer.status != 202) FAIL("the honest client was answered ", answer.status, " ", answer.body);
  }

  void leave() { client_.reset(); }

  [[nodiscard]] milliseconds p99() {
    const auto at = took_.begin() + static_cast<std::ptrdiff_t>(took_.size() * 99 / 100);
    std::nth_element(took_.begin(), at, took_.end());
    return std::chrono::ceil<milliseconds>(*at);
  }
  [[nodiscard]] std::size_t asked() const noexcept { return took_.size(); }

 private:
  std::optional<Client> client_;
  const std::string request_;
  std::vector<test::Clock::duration> took_;
};

// ---- the crowds

struct Kind {
  std::string what;
  CrowdPlan plan;
  int first_answer;  // that each of them gets
};

// The daemon's time-out for all of them: so they are there for a while, and gone in time for the test.
constexpr const char* kTimeout = "2s";

std::vector<Kind> kinds() {
  CrowdPlan heads;
  heads.at_once = "POST /v1/events HTTP/1.1\r\nHost: test\r\n";
  heads.slowly = "X-Slow: y\r\n";
  CrowdPlan bodies;
  bodies.at_once = "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n";
  bodies.slowly = "x";
  CrowdPlan chunks;
  chunks.at_once = "POST /v1/events HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
  chunks.slowly = "1\r\nx\r\n";
  CrowdPlan readers;
  readers.at_once = repeated("GET / HTTP/1.1\r\nHost: t\r\n\r\n", 1000);  // some 250 KB of answers
  readers.sips = true;
  readers.receive_bytes = 4096;
  return {{"heads", heads, 408},
          {"bodies", bodies, 408},
          {"chunks", chunks, 408},
          {"answers", readers, 0},
          {"nothing", {}, 0}};
}

const std::string kLarge =
    "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: 8000000\r\n\r\n";

}  // namespace

TEST_SUITE("daemon.slow") {
  TEST_CASE("slow: beside a thousand slow clients the 99th percentile of an honest one stays below 50 ms") {
    for (Kind& kind : kinds()) {
      INFO("a byte a second: ", kind.what);
      const milliseconds p99 = test::lateness_of(
          [&kind] {
            // Room for all that they have sent and do not read: with less, some would be refused.
            Daemon daemon({"--request-timeout", kTimeout, "--idle-timeout", kTimeout, "--queue-bytes", "256MiB"});
            const Daemon control;
            const Held before = held_at_rest(daemon);
            kind.plan.address = daemon.address();
            Honest honest(daemon);
            Honest alone(control);
            const Crowd crowd(kind.plan);
            REQUIRE(test::wait_status_number(daemon.admin(), "connections", 1001, kPatience));
            // To the last of them, so that the answers to a thousand of them at a time are seen as well.
            const auto until = test::Clock::now() + kPatience;
            do {
              for (int i = 0; i < 100; ++i) {
                honest.ask();
                alone.ask();
              }
            } while (test::status_number(daemon.admin(), "connections") > 1 && test::Clock::now() < until);
            CHECK(test::status_number(daemon.admin(), "connections") == 1);
            if (kind.first_answer != 0)
              CHECK(crowd.first_answers() == std::map<int, std::size_t>{{kind.first_answer, 1000}});
            MESSAGE(kind.what, ": ", honest.asked(), " requests, 99th percentile ", honest.p99().count(),
                    " ms, without the crowd ", alone.p99().count(), " ms");
            const test::Lateness found{honest.p99(), alone.p99()};
            honest.leave();
            check_as_before(daemon, before);
            return found;
          },
          49ms);
      CHECK(p99 < 50ms);
    }
  }

  TEST_CASE("slow: a few clients that fill the memory for requests and then trickle lose it to those that get on") {
    Daemon daemon({"--request-timeout", "60s", "--sink", "null:"});
    const std::string batch = post("application/x-ndjson", repeated("{\"honest\":true}\n", 13'000));
    std::deque<Client> slow;
    std::size_t told = 0;  // that they were too slow
    const auto hear = [&slow, &told](milliseconds limit) {
      bool heard = false;
      for (auto client = slow.begin(); client != slow.end();) {
        const auto answer = client->read_answer(std::next(client) == slow.end() ? limit : 0ms);
        if (!answer) {
          ++client;
          continue;
        }
        heard = true;
        CHECK((answer->status == 408 || answer->status == 429));
        told += answer->status == 408 ? 1 : 0;
        client = slow.erase(client);
      }
      return heard;
    };
    // Until one finds no room, and then the same by smaller bodies, for what that one has left.
    for (const std::size_t size : {std::size_t{1'000'000}, std::size_t{100'000}, std::size_t{10'000}}) {
      bool full = false;
      for (int i = 0; i < 200 && !full; ++i) {
        slow.emplace_back(daemon.address()).send(kLarge + std::string(size, 'x'));
        full = hear(10ms);
      }
      CHECK(full);
    }
    // Not at once: a large body keeps its memory while it makes progress.
    for (const auto until = test::Clock::now() + kPatience; told == 0 && test::Clock::now() < until;) {
      static_cast<void>(test::ask_once(daemon.address(), batch));
      hear(1ms);
    }
    Client honest(daemon.address());
    for (int i = 0; i < 100; ++i) {
      for (Client& client : slow) client.send("x");
      if (honest.ask(batch).status != 202) FAIL("refused, though others hold the memory for nothing");
      hear(0ms);
    }
    CHECK(told >= 1);
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE(
      "slow: beside a thousand slow clients with large bodies an honest one has each of its batches taken, in time") {
    const milliseconds p99 = test::lateness_of(
        [] {
          Daemon daemon({"--request-timeout", "60s", "--sink", "null:", "--ack", "written"});
          const Daemon control({"--sink", "null:", "--ack", "written"});
          CrowdPlan plan;
          plan.address = daemon.address();
          plan.at_once = kLarge + std::string(20'000, 'x');
          plan.slowly = "x";
          const Crowd crowd(plan);
          REQUIRE(crowd.wait_turns(2, kPatience));
          const std::string batch = post("application/x-ndjson", repeated("{\"honest\":true}\n", 13'000));
          Honest honest(daemon, batch);
          Honest alone(control, batch);
          for (int i = 0; i < 300; ++i) {
            honest.ask();
            alone.ask();
          }
          MESSAGE("200 KiB: 99th percentile ", honest.p99().count(), " ms, without the crowd ", alone.p99().count(),
                  " ms");
          return test::Lateness{honest.p99(), alone.p99()};
        },
        49ms);
    CHECK(p99 < 50ms);
  }

  TEST_CASE("slow: a thousand of each kind cost little time of the processor, and a stop in their midst is in time") {
    const milliseconds late = test::lateness_of(
        [] {
          Daemon daemon({"-t", "1s", "--max-connections", "6000", "--queue-bytes", "1GiB"});
          std::deque<Crowd> crowds;
          std::size_t all = 0;
          for (Kind& kind : kinds()) {
            kind.plan.address = daemon.address();
            all += kind.plan.connections;
            crowds.emplace_back(kind.plan);
          }
          REQUIRE(test::wait_status_number(daemon.admin(), "connections", all, kPatience));
          for (const Crowd& crowd : crowds) REQUIRE(crowd.wait_turns(1, kPatience));
          const milliseconds used_before = daemon.process().cpu_time();
          const auto begun = test::Clock::now();
          // The one that is under way, and a whole one: some were here long before the others.
          std::vector<std::size_t> turns;
          for (const Crowd& crowd : crowds) turns.push_back(crowd.turns() + 2);
          for (std::size_t i = 0; i < crowds.size(); ++i) REQUIRE(crowds[i].wait_turns(turns[i], kPatience));
          const milliseconds used = daemon.process().cpu_time() - used_before;
          const auto passed = std::chrono::duration_cast<milliseconds>(test::Clock::now() - begun);
          MESSAGE(all, " clients: ", used.count(), " ms of the processor in ", passed.count(), " ms");
          CHECK(used < passed / 2);
          for (const Crowd& crowd : crowds) CHECK(crowd.open() == 1000);
          return stop_well(daemon, 1000ms);
        },
        kMostLate);
    CHECK(late <= kMostLate);
  }

  TEST_CASE(
      "slow: with --max-connections reached each newcomer is told 503 and closed, and those that are there are "
      "served") {
    Daemon daemon({"--max-connections", "100", "--request-timeout", "60s"});
    const Held before = held_at_rest(daemon);
    {
      // Each in the middle of a request: one that is idle would go for a newcomer.
      const std::string request = post("text/plain", "12");
      const std::string begun = request.substr(0, request.size() - 1);
      std::deque<Client> there;
      for (int i = 0; i < 100; ++i) there.emplace_back(daemon.address()).send(begun);
      REQUIRE(test::wait_status_number(daemon.admin(), "answers_owed", 100, kPatience));
      const auto serves_all = [&there, &begun] {
        for (Client& client : there) {
          if (client.ask("2").status != 202) return false;
          client.send(begun);
        }
        return true;
      };
      {
        std::deque<Client> newcomers;
        for (int i = 0; i < 300; ++i) newcomers.emplace_back(daemon.address());
        for (Client& newcomer : newcomers) {
          const Answer answer = newcomer.read_answer().value_or(Answer{});
          CHECK(answer.status == 503);
          CHECK(answer.header("connection") == "close");
          CHECK(answer.header("retry-after") == "1");
          CHECK(newcomer.wait_closed());
        }
      }
      CHECK(serves_all());
      REQUIRE(test::wait_status_number(daemon.admin(), "answers_owed", 100, kPatience));
      Client asks(daemon.address());  // also one that comes with a request
      CHECK(asks.ask(post("text/plain", "3")).status == 503);
      CHECK(asks.wait_closed());
      there.pop_back();
      REQUIRE(test::wait_status_number(daemon.admin(), "connections", 99, kPatience));
      CHECK(there.emplace_back(daemon.address()).ask(post("text/plain", "4")).status == 202);
    }
    check_as_before(daemon, before);

    CrowdPlan all;
    const milliseconds late = test::lateness_of(
        [&all] {
          Daemon full({"--max-connections", "100", "-t", "1s"});
          all.address = full.address();
          const Crowd crowd(all);  // a thousand, of whom a hundred may stay
          CHECK(test::wait_status_number(full.admin(), "connections", 100, kPatience));
          return stop_well(full, 1000ms);
        },
        kMostLate);
    CHECK(late <= kMostLate);
  }

  TEST_CASE("slow: with ulimit -n 64 accepting pauses without a spin, files and admin are served, and it comes back") {
    const test::Flags flags{
        "--journal-bytes", "8MiB", "--queue-bytes", "4MiB", "--workers", "1", "--request-timeout", "60s", "-t", "1s"};
    const auto few = [&flags] { return Daemon(flags, {}, test::Descriptors{64, 64}); };
    // New segments, one a megabyte: they are files. It is more than the journal may hold, so 429 until some are
    // removed.
    const auto send_segments = [](Client& client) {
      const std::string large = post("application/octet-stream", std::string(std::size_t{200} << 10U, 'x'));
      for (int i = 0; i < 50; ++i) {
        int status = client.ask(large).status;
        for (const auto until = test::Clock::now() + kPatience; status == 429 && test::Clock::now() < until;) {
          std::this_thread::sleep_for(20ms);  // what Retry-After asks for is a second
          status = client.ask(large).status;
        }
        REQUIRE(status == 202);
      }
    };
    // More than it can have; the kernel takes them all.
    const auto come_to = [](Daemon& daemon) {
      std::deque<Client> crowd;
      for (int i = 0; i < 64; ++i) crowd.emplace_back(daemon.address());
      REQUIRE(daemon.process().wait_line("Too many open files; connections wait", kPatience));
      return crowd;
    };

    Daemon daemon = few();
    Held before = held_at_rest(daemon);
    {
      Client honest(daemon.address());
      send_segments(honest);
      before.memory = daemon.process().resident();
      std::deque<Client> crowd = come_to(daemon);
      Client waits(daemon.address());
      REQUIRE(waits.send(post("text/plain", "waits")));
      // As many as there are files left for, once the segments that are delivered are gone.
      std::size_t connections = 0;
      for (const auto until = test::Clock::now() + kPatience; connections <= 5 && test::Clock::now() < until;) {
        std::this_thread::sleep_for(20ms);
        connections = test::status_number(daemon.admin(), "connections");
      }
      MESSAGE(connections, " connections, ", daemon.process().open_files().size(), " descriptors");
      CHECK(connections > 5);
      CHECK(connections < 40);

      // Nothing happens but that it looks from time to time.
      const milliseconds used_before = daemon.process().cpu_time();
      CHECK_FALSE(waits.read_answer(1500ms).has_value());
      const milliseconds used = daemon.process().cpu_time() - used_before;
      MESSAGE(used.count(), " ms of the processor in 1500 ms");
      CHECK(used < 150ms);

      send_segments(honest);
      CHECK(test::status_number(daemon.admin(), "connections") < 40);
      CHECK(daemon.process().errors().find("has failed") == std::string::npos);

      crowd.clear();
      CHECK(waits.read_answer().value_or(Answer{}).status == 202);
      CHECK(test::ask_once(daemon.address(), post("text/plain", "new")).status == 202);
    }
    check_as_before(daemon, before);

    const milliseconds late = test::lateness_of(
        [&] {
          Daemon full = few();
          const std::deque<Client> crowd = come_to(full);
          return stop_well(full, 1000ms);
        },
        kMostLate);
    CHECK(late <= kMostLate);
  }
}
