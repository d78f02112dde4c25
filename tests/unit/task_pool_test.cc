// The task pool: what is taken runs once, what is not taken does not run, and every way to stop ends with a report that
// balances.
#include "sluice/task_pool.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sluice/error.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

struct Lines {
  std::mutex mutex;
  std::vector<std::string> lines;  // guarded by mutex
  [[nodiscard]] bool contain(std::string_view text) {
    const std::lock_guard lock(mutex);
    return std::ranges::any_of(lines, [&](const std::string& line) { return line.find(text) != std::string::npos; });
  }
};

LogHook into(std::shared_ptr<Lines> lines) {
  return [lines](LogLevel, std::string_view line) {
    const std::lock_guard lock(lines->mutex);
    lines->lines.emplace_back(line);
  };
}

LogHook silent() {
  return [](LogLevel, std::string_view) {};
}

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::sleep_for(100us)) {
    if (holds()) return true;
  }
  return false;
}

// Blocks tasks until the test opens it; shared with them, since a stuck one outlives its pool.
struct Barrier {
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  void pass() {
    ++inside;
    while (!open) std::this_thread::sleep_for(100us);
    --inside;
  }
};

// Counts its living copies.
struct Token {
  explicit Token(std::shared_ptr<std::atomic<int>> count) : alive(std::move(count)) { ++*alive; }
  Token(Token&& other) noexcept : alive(other.alive) { ++*alive; }
  Token(const Token&) = delete;
  Token& operator=(Token&&) = delete;
  Token& operator=(const Token&) = delete;
  ~Token() { --*alive; }
  std::shared_ptr<std::atomic<int>> alive;
};

}  // namespace

TEST_SUITE("task pool") {
  TEST_CASE("task pool: every task that is taken runs once, and the report says so") {
    constexpr std::size_t kTasks = 20000;
    std::vector<std::atomic<int>> runs(kTasks);
    TaskPool pool({.workers = 3, .queue_tasks = 64, .log = silent()});
    {
      std::vector<std::jthread> producers;
      for (std::size_t p = 0; p < 4; ++p) {
        producers.emplace_back([&, p] {
          for (std::size_t i = p; i < kTasks; i += 4)
            REQUIRE(pool.wait_run([&runs, i] { ++runs[i]; }, deadline_in(1min)));
        });
      }
    }
    const Report report = pool.shutdown(1min);
    CHECK(report.drained());
    CHECK(report.books.accepted == kTasks);
    CHECK(report.books.delivered == kTasks);
    CHECK(report.books.balanced());
    CHECK(report.held_up_by.empty());
    CHECK(std::ranges::all_of(runs, [](const auto& n) { return n == 1; }));
  }

  TEST_CASE("task pool: one worker runs tasks in the order in which they were taken") {
    std::vector<int> order;
    TaskPool pool({.workers = 1});
    for (int i = 0; i < 100; ++i) REQUIRE(pool.try_run([&order, i] { order.push_back(i); }) == Admit::accepted);
    CHECK(pool.shutdown(10s).drained());
    REQUIRE(order.size() == 100);
    CHECK(std::ranges::is_sorted(order));
  }

  TEST_CASE("task pool: move-only callables, results, futures and stop tokens") {
    TaskPool pool({.workers = 2});
    auto owned = std::make_unique<int>(7);
    std::atomic<int> got{0};
    REQUIRE(pool.try_run([owned = std::move(owned), &got] { got = *owned; }) == Admit::accepted);
    std::packaged_task<int()> task([] { return 42; });
    std::future<int> future = task.get_future();
    REQUIRE(pool.try_run(std::move(task)) == Admit::accepted);
    CHECK(future.get() == 42);
    std::atomic<bool> possible{false};
    REQUIRE(pool.try_run([&](std::stop_token stop) { possible = stop.stop_possible(); }) == Admit::accepted);
    REQUIRE(pool.try_run([] { return 1; }) == Admit::accepted);
    CHECK(pool.shutdown(10s).books.delivered == 4);
    CHECK(got == 7);
    CHECK(possible);
  }

  TEST_CASE("task pool: a full pool refuses and leaves the task to its caller; a closed one refuses") {
    const auto barrier = std::make_shared<Barrier>();
    TaskPool pool({.workers = 1, .queue_tasks = 2, .log = silent()});
    for (int i = 0; i < 2; ++i) REQUIRE(pool.try_run([barrier] { barrier->pass(); }) == Admit::accepted);
    auto owned = std::make_unique<int>(7);
    auto third = [owned = std::move(owned), ran = std::make_shared<bool>(false)] { *ran = *owned == 7; };
    CHECK(pool.try_run(std::move(third)) == Admit::full);
    CHECK_FALSE(pool.wait_run(std::move(third), deadline_in(20ms)));
    CHECK(pool.books().kept == 2);
    std::jthread opener([barrier] { barrier->open = true; });
    CHECK(pool.wait_run(std::move(third), deadline_in(10s)));
    CHECK(pool.shutdown(10s).books.delivered == 3);
    CHECK(pool.try_run([] {}) == Admit::closed);
    CHECK_FALSE(pool.wait_run([] {}, deadline_in(1h)));
  }

  TEST_CASE("task pool: a task that throws is counted and logged, and its worker goes on") {
    const auto lines = std::make_shared<Lines>();
    TaskPool pool({.workers = 1, .log = into(lines)});
    REQUIRE(pool.try_run([] { throw std::runtime_error("no ink"); }) == Admit::accepted);
    REQUIRE(pool.try_run([] { throw 7; }) == Admit::accepted);
    REQUIRE(pool.try_run([] {}) == Admit::accepted);
    const Report report = pool.shutdown(10s);
    CHECK(report.drained());
    CHECK(report.books.dead == 2);
    CHECK(report.books.delivered == 1);
    CHECK(lines->contain("task threw worker=0 tasks=1 reason=\"no ink\""));
    CHECK(lines->contain("more tasks threw tasks=1"));
  }

  TEST_CASE("task pool: tasks that threw in a burst are all logged without a stop") {
    const auto lines = std::make_shared<Lines>();
    TaskPool pool({.workers = 2, .log = into(lines)});
    for (int i = 0; i < 5; ++i) REQUIRE(pool.try_run([] { throw std::runtime_error("x"); }) == Admit::accepted);
    CHECK(eventually([&] { return lines->contain("more tasks threw tasks=4"); }));
  }

  TEST_CASE(
      "task pool: at the deadline a stuck worker is left behind and named, and what waits is lost and destroyed") {
    const auto barrier = std::make_shared<Barrier>();
    const auto alive = std::make_shared<std::atomic<int>>(0);
    const auto lines = std::make_shared<Lines>();
    {
      TaskPool pool({.workers = 2, .log = into(lines)});
      REQUIRE(pool.try_run([] {}) == Admit::accepted);
      REQUIRE(eventually([&] { return pool.books().delivered == 1; }));
      REQUIRE(pool.try_run([barrier, token = Token(alive)] { barrier->pass(); }) == Admit::accepted);
      REQUIRE(pool.try_run([barrier, token = Token(alive)] { barrier->pass(); }) == Admit::accepted);
      REQUIRE(eventually([&] { return barrier->inside == 2; }));
      for (int i = 0; i < 10; ++i) REQUIRE(pool.try_run([token = Token(alive)] { FAIL("it ran"); }) == Admit::accepted);
      CHECK(*alive == 12);
      const auto began = Clock::now();
      const Report report = pool.shutdown(200ms);
      CHECK(Clock::now() - began >= 200ms);
      CHECK(Clock::now() - began < 1s);
      CHECK(report.reason == Reason::deadline);
      CHECK(report.timed_out());
      CHECK(report.books.accepted == 13);
      CHECK(report.books.delivered == 1);
      CHECK(report.books.lost == 12);
      CHECK(report.books.balanced());
      REQUIRE(report.held_up_by.size() == 2);
      CHECK(report.held_up_by[0].sink == "task");
      CHECK(report.held_up_by[0].in_state >= 200ms);
      CHECK(*alive == 2);  // the running ones
      CHECK(lines->contain("the stop is held up worker=0 sink=task for="));
      CHECK(lines->contain("tasks are lost, the deadline came first tasks=12"));
    }
    barrier->open = true;
    CHECK(eventually([&] { return *alive == 0; }));
  }

  TEST_CASE("task pool: a task that heeds its stop token is joined") {
    std::atomic<bool> inside{false}, ended{false};
    TaskPool pool({.workers = 1, .log = silent()});
    REQUIRE(pool.try_run([&](std::stop_token stop) {
      inside = true;
      while (!stop.stop_requested()) std::this_thread::sleep_for(100us);
      ended = true;
    }) == Admit::accepted);
    REQUIRE(eventually([&] { return inside.load(); }));
    const Report report = pool.shutdown(100ms);
    CHECK(report.reason == Reason::deadline);
    CHECK(report.books.lost == 1);
    if (report.held_up_by.empty()) CHECK(ended);  // a busy machine may take longer than the grace
    CHECK(eventually([&] { return ended.load(); }));
  }

  TEST_CASE("task pool: of several shutdowns the earliest deadline counts, and all get one report") {
    const auto barrier = std::make_shared<Barrier>();
    TaskPool pool({.workers = 1, .log = silent()});
    REQUIRE(pool.try_run([barrier] { barrier->pass(); }) == Admit::accepted);
    REQUIRE(eventually([&] { return barrier->inside == 1; }));
    std::optional<Report> first;
    std::jthread other([&] { first = pool.shutdown(1h); });
    REQUIRE(eventually([&] { return pool.try_run([] {}) == Admit::closed; }));
    const std::uint64_t accepted = pool.books().accepted;
    const Report second = pool.shutdown(100ms);
    other.join();
    CHECK(first->elapsed == second.elapsed);
    CHECK(second.books.accepted == accepted);
    CHECK(second.held_up_by.size() == 1);
    CHECK(pool.shutdown(1h).elapsed == second.elapsed);
    barrier->open = true;
  }

  TEST_CASE("task pool: the destructor ends soon, logs what it left, and the log is silent from then on") {
    const auto barrier = std::make_shared<Barrier>();
    const auto lines = std::make_shared<Lines>();
    const auto began = Clock::now();
    {
      TaskPool pool({.workers = 1, .log = into(lines)});
      REQUIRE(pool.try_run([barrier] {
        barrier->pass();
        throw std::runtime_error("late");
      }) == Admit::accepted);
      REQUIRE(eventually([&] { return barrier->inside == 1; }));
    }
    CHECK(Clock::now() - began < 5s);
    CHECK(lines->contain("stopped reason=deadline accepted=1 delivered=0 dead=0 kept=0 lost=1 "));
    barrier->open = true;
    CHECK(eventually([&] { return barrier.use_count() == 1; }));
    CHECK_FALSE(lines->contain("late"));
  }

  TEST_CASE("task pool: a log hook that blocks does not outlast the deadline") {
    struct Hook {
      std::atomic<bool> blocks{false};
      std::atomic<bool> released{false};
    };
    const auto hook = std::make_shared<Hook>();  // owners: we, and the pool's log
    TaskPool pool({.workers = 1, .log = [hook](LogLevel, std::string_view line) {
                     if (!line.starts_with("more tasks threw")) return;
                     hook->blocks = true;
                     const auto limit = Clock::now() + 5s;  // so that this test fails, not hangs
                     while (!hook->released && Clock::now() < limit) std::this_thread::sleep_for(1ms);
                   }});
    for (int i = 0; i < 2; ++i) REQUIRE(pool.try_run([] { throw std::runtime_error("no"); }) == Admit::accepted);
    REQUIRE(eventually([&] { return hook->blocks.load(); }));
    const Report report = pool.shutdown(200ms);
    hook->released = true;
    CHECK(report.elapsed < 2s);
    CHECK(report.held_up_by.size() == 1);
    CHECK(report.timed_out());
    CHECK(report.books.dead == 2);
    CHECK(report.books.balanced());
  }

  TEST_CASE("task pool: tasks may start tasks, and a drain waits for them") {
    std::atomic<int> runs{0};
    TaskPool pool({.workers = 2, .log = silent()});
    REQUIRE(pool.try_run([&] {
      for (int i = 0; i < 10; ++i) CHECK(pool.try_run([&] { ++runs; }) == Admit::accepted);
    }) == Admit::accepted);
    REQUIRE(eventually([&] { return pool.books().accepted == 11; }));
    CHECK(pool.shutdown(10s).books.delivered == 11);
    CHECK(runs == 10);
  }

  TEST_CASE("task pool: options out of range are refused by name") {
    const auto refusal = [](const TaskPoolOptions& options) -> std::string {
      try {
        const TaskPool pool(options);
      } catch (const StartError& error) {
        return error.kind() == StartError::Kind::usage ? error.what() : "";
      }
      return "";
    };
    CHECK(refusal({.workers = 1025}) == "workers: 0 to 1024");
    CHECK(refusal({.queue_tasks = 0}) == "queue_tasks: 1 to 2^30");
    CHECK(refusal({.queue_tasks = (std::size_t{1} << 30U) + 1}) == "queue_tasks: 1 to 2^30");
    CHECK(refusal({}) == "");
  }

  TEST_CASE("task pool: a shutdown among producers and tasks loses none that it does not report") {
    for (int round = 0; round < 20; ++round) {
      std::atomic<std::uint64_t> taken{0}, ran{0};
      TaskPool pool({.workers = 2, .queue_tasks = 16, .log = silent()});
      std::vector<std::jthread> producers;
      for (int p = 0; p < 3; ++p) {
        producers.emplace_back([&] {
          for (;;) {
            const Admit answer = pool.try_run([&] { ++ran; });
            if (answer == Admit::closed) return;
            taken += answer == Admit::accepted ? 1 : 0;
          }
        });
      }
      REQUIRE(eventually([&] { return ran > 100; }));
      const Report report = pool.shutdown(10s);
      producers.clear();
      CHECK(report.drained());
      CHECK(report.books.accepted == taken);
      CHECK(report.books.delivered == ran);
      CHECK(report.books.balanced());
    }
  }
}
