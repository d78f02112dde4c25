// The event loop alone: timers, jobs of other threads, watchers, the stop. One thread runs it, often the test's own.
#include "http/event_loop.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using sluiced::http::EventLoop;
using Clock = EventLoop::Clock;

// Calls a function when its descriptor is ready.
struct Watched final : EventLoop::Watcher {
  explicit Watched(std::function<void(std::uint32_t)> then) : on(std::move(then)) {}
  void on_ready(std::uint32_t events) override { on(events); }
  std::function<void(std::uint32_t)> on;
};

// Two connected sockets.
struct Pair {
  Pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0); }
  ~Pair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  void write() const { REQUIRE(::write(ends[1], "x", 1) == 1); }
  void read() const {
    char byte = 0;
    REQUIRE(::read(ends[0], &byte, 1) == 1);
  }
  std::array<int, 2> ends{};
};

TEST_CASE("event loop: timers expire in the order of their times, not before them, and equal ones as they were set") {
  EventLoop loop;
  std::string order;
  const Clock::time_point begin = Clock::now();
  std::vector<Clock::duration> early;
  std::vector<std::unique_ptr<EventLoop::Timer>> timers;
  const auto add = [&](char name, Clock::duration after) {
    timers.push_back(std::make_unique<EventLoop::Timer>(loop, [&order, &early, name, due = begin + after] {
      order += name;
      if (Clock::now() < due) early.push_back(due - Clock::now());
    }));
    timers.back()->set(begin + after);
  };
  add('e', 30ms);
  add('b', 10ms);
  add('c', 10ms);
  add('a', -5ms);
  add('d', 20ms);
  EventLoop::Timer end(loop, [&loop] { loop.stop(); });
  end.set(begin + 40ms);
  loop.run();
  CHECK(order == "abcde");
  CHECK(early.empty());
}

TEST_CASE("event loop: a timer that is cancelled or destroyed does not expire, one that is set again does so once") {
  EventLoop loop;
  std::string order;
  std::optional<EventLoop::Timer> destroyed;
  destroyed.emplace(loop, [&order] { order += 'd'; });
  EventLoop::Timer cancelled(loop, [&order] { order += 'c'; });
  EventLoop::Timer again(loop, [&order] { order += 'a'; });
  EventLoop::Timer first(loop, [&] {
    order += 'f';
    destroyed.reset();
    cancelled.cancel();
  });
  EventLoop::Timer end(loop, [&loop] { loop.stop(); });
  const Clock::time_point now = Clock::now();
  again.set(now);
  again.set(now + 12ms);
  first.set(now + 5ms);
  destroyed->set(now + 10ms);
  cancelled.set(now + 10ms);
  end.set(now + 20ms);
  CHECK(cancelled.is_set());
  loop.run();
  CHECK(order == "fa");
  CHECK_FALSE(cancelled.is_set());
  CHECK_FALSE(again.is_set());
}

TEST_CASE("event loop: a timer that sets itself to the past keeps neither jobs nor sockets waiting") {
  EventLoop loop;
  Pair pair;
  int expired = 0;
  std::optional<EventLoop::Timer> timer;
  timer.emplace(loop, [&] {
    if (++expired == 1) {
      loop.post([&pair] { pair.write(); });
    }
    if (expired == 1000) loop.stop();
    timer->set(Clock::now() - 1ms);
  });
  Watched watched([&loop](std::uint32_t) { loop.stop(); });
  REQUIRE(loop.try_watch(pair.ends[0], watched, EPOLLIN));
  timer->set(Clock::now());
  loop.run();
  CHECK(expired < 1000);
}

TEST_CASE("event loop: jobs of many threads all run, each thread's in its order, on the loop's thread") {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kJobs = 2000;
  EventLoop loop;
  std::array<std::size_t, kThreads> next{};  // the loop's thread alone
  std::size_t ran = 0;
  bool ordered = true;
  bool own_thread = true;
  const auto owner = std::this_thread::get_id();
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kJobs; ++i) {
        loop.post([&, t, i] {
          ordered = ordered && next[t]++ == i;
          own_thread = own_thread && std::this_thread::get_id() == owner;
          if (++ran == kThreads * kJobs) loop.stop();
        });
      }
    });
  }
  loop.run();
  CHECK(ran == kThreads * kJobs);
  CHECK(ordered);
  CHECK(own_thread);
}

TEST_CASE("event loop: after each wake() the function for it is called, also for one that comes from within it") {
  int calls = 0;
  std::optional<EventLoop> loop;
  loop.emplace([&] {
    if (++calls == 3) return loop->stop();
    loop->wake();
  });
  std::jthread other([&loop] { loop->wake(); });
  loop->run();
  CHECK(calls == 3);
}

TEST_CASE("event loop: a job that posts another keeps no socket waiting") {
  EventLoop loop;
  Pair pair;
  Watched watched([&loop](std::uint32_t) { loop.stop(); });
  REQUIRE(loop.try_watch(pair.ends[0], watched, EPOLLIN));
  int ran = 0;
  const std::function<void()> job = [&] {
    if (++ran == 1) pair.write();
    if (ran < 1000) loop.post(job);
  };
  loop.post(job);
  loop.run();
  CHECK(ran < 1000);
}

TEST_CASE("event loop: stop() from another thread ends a loop that waits, and a loop that was stopped runs no more") {
  EventLoop loop;
  std::atomic<bool> inside{false};
  loop.post([&inside] { inside = true; });
  std::jthread runner([&loop] { loop.run(); });
  while (!inside) std::this_thread::yield();
  loop.stop();
  runner.join();

  bool ran = false;
  loop.post([&ran] { ran = true; });
  loop.run();
  CHECK_FALSE(ran);
}

TEST_CASE("event loop: a watcher is called as long as its descriptor is ready, and for no interest that it has not") {
  EventLoop loop;
  Pair pair;
  int calls = 0;
  std::uint32_t seen = 0;
  Watched watched([&](std::uint32_t events) {
    seen |= events;
    if (++calls < 3) return;  // unread, so it is ready again
    pair.read();
    loop.change(pair.ends[0], watched, EPOLLIN | EPOLLOUT);
    if (calls > 3) loop.stop();
    pair.write();
  });
  REQUIRE(loop.try_watch(pair.ends[0], watched, EPOLLIN));
  pair.write();
  EventLoop::Timer end(loop, [&loop] { loop.stop(); });
  end.set(Clock::now() + 5s);
  loop.run();
  CHECK(calls == 4);
  CHECK(seen == (EPOLLIN | EPOLLOUT));
}

TEST_CASE("event loop: a watcher that another one destroyed in the same turn is not called") {
  EventLoop loop;
  std::array<Pair, 2> pairs;
  std::array<std::unique_ptr<Watched>, 2> watchers;
  int calls = 0;
  for (std::size_t i = 0; i < watchers.size(); ++i) {
    watchers[i] = std::make_unique<Watched>([&, i](std::uint32_t) {
      ++calls;
      pairs[i].read();
      const std::size_t other = 1 - i;
      loop.forget(*watchers[other]);
      pairs[other].read();
      watchers[other].reset();
      loop.post([&loop] { loop.stop(); });
    });
    REQUIRE(loop.try_watch(pairs[i].ends[0], *watchers[i], EPOLLIN));
    pairs[i].write();
  }
  loop.run();
  CHECK(calls == 1);
}

TEST_CASE("event loop: what throws leaves run(), and the next run() loses no socket, job or timer") {
  EventLoop loop;
  std::array<Pair, 3> pairs;
  int sockets = 0;
  int jobs = 0;
  int timers = 0;
  const auto count = [](int& counter) {
    ++counter;
    throw std::runtime_error("no memory");
  };
  std::vector<std::unique_ptr<Watched>> watchers;
  for (Pair& pair : pairs) {
    watchers.push_back(std::make_unique<Watched>([&](std::uint32_t) {
      pair.read();
      count(sockets);
    }));
    REQUIRE(loop.try_watch(pair.ends[0], *watchers.back(), EPOLLIN));
    pair.write();
  }
  for (int i = 0; i < 3; ++i) loop.post([&] { count(jobs); });
  std::vector<std::unique_ptr<EventLoop::Timer>> set;
  for (int i = 0; i < 3; ++i) {
    set.push_back(std::make_unique<EventLoop::Timer>(loop, [&] { count(timers); }));
    set.back()->set(Clock::now());
  }
  EventLoop::Timer end(loop, [&loop] { loop.stop(); });
  end.set(Clock::now() + 20ms);
  int thrown = 0;
  for (bool over = false; !over;) {
    try {
      loop.run();
      over = true;
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(sockets == 3);
  CHECK(jobs == 3);
  CHECK(timers == 3);
  CHECK(thrown == 9);
}

}  // namespace
