// The whole engine, in process: what is accepted is delivered, once and in order, and every way to stop is defined.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "queue/event_queue.h"
#include "sluice/host.h"
#include "sluice/tracker.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

// What all sinks of a test together have been given.
struct Seen {
  std::mutex mutex;
  std::vector<std::string> payloads;  // guarded by mutex

  void add(const Delivery& event) {
    const std::lock_guard lock(mutex);
    payloads.emplace_back(event.text());
  }
  std::size_t size() {
    const std::lock_guard lock(mutex);
    return payloads.size();
  }
};

Options quiet(Options options = {}) {
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

// A door that opens when the test says so; shared with sinks that may outlive it.
struct Latch {
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  void pass() {
    ++inside;
    while (!open) std::this_thread::sleep_for(100us);  // a slow sink, not a test that waits
    --inside;
  }
};

template <typename Deliver>
class FunctionSink final : public Sink {
 public:
  explicit FunctionSink(Deliver deliver) : deliver_(std::move(deliver)) {}
  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    deliver_(batch, verdicts, stop);
  }

 private:
  Deliver deliver_;
};

template <typename Deliver>
SinkFactory sinks(Deliver deliver) {
  return [deliver](const SinkContext&) { return std::make_unique<FunctionSink<Deliver>>(deliver); };
}

void deliver_all(std::span<Verdict> verdicts) {
  for (Verdict& verdict : verdicts) verdict = Verdict::delivered;
}

}  // namespace

TEST_SUITE("tracker") {
  TEST_CASE("tracker: what is tracked is delivered, with an id, a time and its type, and the report says so") {
    Seen seen;
    Tracker tracker(quiet(), [&](const Delivery& event) {
      CHECK(event.content_type == "text/x");
      CHECK(event.attempt == 1);
      CHECK(std::chrono::abs(std::chrono::system_clock::now() - event.received) < 1h);
      seen.add(event);
    });
    CHECK(tracker.track(Event("hello", "text/x")) == Admit::accepted);
    const Report report = tracker.shutdown(5s);
    CHECK(report.reason == Reason::drained);
    CHECK_FALSE(report.timed_out());
    CHECK(report.books.accepted == 1);
    CHECK(report.books.delivered == 1);
    CHECK(report.books.balanced());
    REQUIRE(seen.payloads == std::vector<std::string>{"hello"});
  }

  TEST_CASE("tracker: after shutdown a track is refused and nothing runs") {
    Seen seen;
    Tracker tracker(quiet(), [&](const Delivery& event) { seen.add(event); });
    CHECK(tracker.shutdown(5s).books.accepted == 0);
    CHECK(tracker.track(Event("late")) == Admit::closed);
    const std::vector<Event> two{Event("a"), Event("b")};
    CHECK(tracker.wait_track(two, Clock::now() + 1h) == Admit::closed);
    CHECK(tracker.status().refused_closed == 3);
    CHECK(seen.size() == 0);
  }

  TEST_CASE("tracker: bulk is whole or not at all") {
    auto latch = std::make_shared<Latch>();
    Options options = quiet();
    options.queue_events = 10;
    Tracker tracker(options, [latch](const Delivery&) { latch->pass(); });
    const std::vector<Event> eleven(11, Event("x"));
    CHECK(tracker.track(eleven) == Admit::too_large);
    const std::vector<Event> eight(8, Event("x"));
    CHECK(tracker.track(eight) == Admit::accepted);
    CHECK(tracker.track(std::span(eight).first(3)) == Admit::full);
    CHECK(tracker.track(std::span(eight).first(2)) == Admit::accepted);
    CHECK(tracker.books().accepted == 10);
    CHECK(tracker.status().refused_full == 3);
    latch->open = true;
    const Report report = tracker.shutdown(10s);
    CHECK(report.books.accepted == 10);
    CHECK(report.books.delivered == 10);
  }

  TEST_CASE("tracker: an event over the limit, or with an endless content type, is too large") {
    Options options = quiet();
    options.max_event_bytes = 10;
    Tracker tracker(options, [](const Delivery&) {});
    CHECK(tracker.track(Event("12345678901")) == Admit::too_large);
    const std::string type(256, 't');
    CHECK(tracker.track(Event("1", type)) == Admit::too_large);
    CHECK(tracker.track(Event("1234567890")) == Admit::accepted);
    CHECK(tracker.shutdown(5s).books.accepted == 1);
  }

  TEST_CASE("tracker: a receipt is called once, before track returns under queued, with the ids") {
    Tracker tracker(quiet(), [](const Delivery&) {});
    int calls = 0;
    Outcome got;
    const std::vector<Event> three(3, Event("x"));
    const Receipt receipt = [&](const Outcome& r) {
      ++calls;
      got = r;
    };
    CHECK(tracker.track(three, receipt).pending());
    CHECK(calls == 1);
    CHECK(got.answer == Admit::accepted);
    CHECK(got.first.sequence == 1);
    CHECK(got.last.sequence == 3);
    CHECK(got.first.run == tracker.run());
    static_cast<void>(tracker.shutdown(5s));
    CHECK(tracker.track(three, receipt).refusal() == Admit::closed);
    CHECK(calls == 1);
  }

  TEST_CASE("tracker: wait_track waits for room and gives up at its deadline") {
    auto latch = std::make_shared<Latch>();
    Options options = quiet();
    options.queue_events = 1;
    Tracker tracker(options, [latch](const Delivery&) { latch->pass(); });
    const std::vector<Event> one(1, Event("x"));
    CHECK(tracker.wait_track(one, Clock::now() + 1h) == Admit::accepted);
    CHECK(tracker.wait_track(one, Clock::now() + 5ms) == Admit::full);
    latch->open = true;
    CHECK(tracker.wait_track(one, Clock::now() + 1h) == Admit::accepted);
    CHECK(tracker.shutdown(10s).books.delivered == 2);
  }

  TEST_CASE("tracker: closed at a random moment, accepted = delivered, each once, in order with one worker") {
#ifdef SLUICE_TSAN
    constexpr int kRounds = 1000;
#else
    constexpr int kRounds = 1000;
#endif
    constexpr int kProducers = 8;
    std::mt19937 random(20260101);
    for (int round = 0; round < kRounds; ++round) {
      const std::size_t workers = round % 2 == 0 ? 1 : 4;
      CAPTURE(round);
      Seen seen;
      Options options = quiet();
      options.workers = workers;
      options.queue_events = 256;
      Tracker tracker(options, [&](const Delivery& event) { seen.add(event); });
      std::vector<std::vector<std::string>> accepted(kProducers);
      std::atomic<int> going{0};
      {
        std::vector<std::jthread> producers;
        for (int p = 0; p < kProducers; ++p) {
          producers.emplace_back([&, p, bulk = 1 + random() % 100] {
            ++going;
            for (int i = 0;; ++i) {
              std::vector<std::string> texts;
              std::vector<Event> events;
              for (std::size_t b = 0; b < bulk; ++b) {
                texts.push_back(std::to_string(p) + ":" + std::to_string(i) + ":" + std::to_string(b));
              }
              for (const auto& text : texts) events.push_back(Event(text));
              const Admit answer = i % 3 == 0 ? tracker.wait_track(events, Clock::now() + 1h) : tracker.track(events);
              if (answer == Admit::closed) return;
              if (answer != Admit::accepted) continue;
              accepted[static_cast<std::size_t>(p)].insert(accepted[static_cast<std::size_t>(p)].end(), texts.begin(),
                                                           texts.end());
            }
          });
        }
        while (going < kProducers) std::this_thread::yield();
        for (auto spin = random() % 2000; spin > 0; --spin) static_cast<void>(tracker.books());
        const Report report = tracker.shutdown(60s);
        REQUIRE(report.reason == Reason::drained);
        REQUIRE(report.books.balanced());
        REQUIRE(report.books.kept == 0);
        REQUIRE(report.books.lost == 0);
        REQUIRE(report.books.delivered == report.books.accepted);
        REQUIRE(tracker.status().queue_events == 0);
      }
      // Only now: who met the closed door may have given back what he had charged in vain a moment later.
      REQUIRE(tracker.status().queue_bytes == 0);
      std::size_t total = 0;
      for (const auto& texts : accepted) total += texts.size();
      REQUIRE(seen.payloads.size() == total);
      if (workers == 1) {
        std::vector<std::vector<std::string>> delivered(kProducers);
        for (const auto& text : seen.payloads) delivered[static_cast<std::size_t>(text[0] - '0')].push_back(text);
        REQUIRE((delivered == accepted));
      } else {
        std::vector<std::string> all;
        for (const auto& texts : accepted) all.insert(all.end(), texts.begin(), texts.end());
        std::ranges::sort(all);
        std::ranges::sort(seen.payloads);
        REQUIRE((seen.payloads == all));
      }
    }
  }

  TEST_CASE("tracker: a handler that throws is tried again until it does not") {
    std::atomic<int> failures{3};
    Seen seen;
    Options options = quiet();
    options.workers = 1;
    options.retry_min = 1ms;
    options.retry_max = 2ms;
    Tracker tracker(options, [&](const Delivery& event) {
      if (failures-- > 0) throw std::runtime_error("not yet");
      seen.add(event);
      CHECK(event.attempt == 4);
    });
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    const Report report = tracker.shutdown(10s);
    CHECK(report.books.delivered == 1);
    CHECK(seen.size() == 1);
  }

  TEST_CASE("tracker: behind an event that was sent again the next one is sent for the first time") {
    Options options = quiet();
    options.workers = 1;
    options.retry_min = options.retry_max = 1ms;
    std::vector<std::string> sent;
    Tracker tracker(options, sinks([&](std::span<const Delivery> batch, std::span<Verdict> verdicts, auto&&) {
                      for (std::size_t i = 0; i < batch.size(); ++i) {
                        sent.push_back(std::string(batch[i].text()) + " " + std::to_string(batch[i].attempt));
                        if (batch[i].text() != "again" || batch[i].attempt == 3) verdicts[i] = Verdict::delivered;
                      }
                    }));
    REQUIRE(tracker.track(Event("again")) == Admit::accepted);
    REQUIRE(eventually([&] { return tracker.books().delivered == 1; }));
    REQUIRE(tracker.track(Event("next")) == Admit::accepted);
    CHECK(tracker.shutdown(5s).reason == Reason::drained);
    CHECK(sent == std::vector<std::string>{"again 1", "again 2", "again 3", "next 1"});
  }

  TEST_CASE("tracker: a batch holds no more than a MiB, and what does not fit is the next one's, in order") {
    constexpr std::size_t kMiB = std::size_t{1} << 20U;
    Options options = quiet();
    options.workers = 1;
    std::vector<std::size_t> sizes;
    std::string order;
    Tracker tracker(options, sinks([&](std::span<const Delivery> batch, std::span<Verdict> verdicts, auto&&) {
                      std::size_t bytes = 0;
                      for (const Delivery& event : batch) {
                        bytes += event.payload.size();
                        order += event.text().front();
                      }
                      sizes.push_back(bytes);
                      deliver_all(verdicts);
                    }));
    std::vector<std::string> texts;
    for (char c = 'a'; c <= 'l'; ++c) texts.emplace_back(200'000, c);
    texts.emplace_back("m");  // would fit where one before it did not
    std::vector<Event> events;
    for (const std::string& text : texts) events.push_back(Event(text));
    REQUIRE(tracker.track(events) == Admit::accepted);
    CHECK(tracker.shutdown(5s).reason == Reason::drained);
    CHECK(order == "abcdefghijklm");
    CHECK(sizes.size() == 3);
    for (const std::size_t bytes : sizes) CHECK(bytes <= kMiB);
  }

  TEST_CASE("tracker: a sink that throws means try again for the whole batch, also for what it had delivered") {
    std::atomic<int> calls{0};
    Options options = quiet();
    options.workers = 1;
    options.retry_min = options.retry_max = 1ms;
    Tracker tracker(options, sinks([&](std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) {
                      CHECK(verdicts[0].kind() == Verdict::try_again);
                      deliver_all(verdicts);
                      if (batch[0].attempt == 1) throw std::runtime_error("after all");
                      ++calls;
                    }));
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    CHECK(tracker.shutdown(10s).books.delivered == 1);
    CHECK(calls == 1);
  }

  TEST_CASE("tracker: only the events that asked for it are sent again, refused ones are dead and kept aside") {
    const auto dir = std::filesystem::temp_directory_path() / ("sluice-dead-" + std::to_string(::getpid()));
    std::filesystem::remove_all(dir);
    Seen seen;
    Options options = quiet();
    options.workers = 1;
    options.retry_min = options.retry_max = 1ms;
    options.state_dir = dir;
    {
      Tracker tracker(options,
                      sinks([&](std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) {
                        for (std::size_t i = 0; i < batch.size(); ++i) {
                          if (batch[i].text() == "bad") {
                            verdicts[i] = {Verdict::refused, "it is bad"};
                          } else if (batch[i].text() == "later" && batch[i].attempt < 3) {
                            verdicts[i] = {Verdict::try_again, "not yet"};
                          } else {
                            verdicts[i] = Verdict::delivered;
                            seen.add(batch[i]);
                          }
                        }
                      }));
      std::vector<Event> events(20, Event("good"));
      events[3] = Event("bad");
      events[7] = Event("later");
      CHECK(tracker.track(events) == Admit::accepted);
      CHECK(eventually([&] { return tracker.books().kept == 0; }));
      const Report report = tracker.shutdown(10s);
      CHECK(report.books.accepted == 20);
      CHECK(report.books.delivered == 19);
      CHECK(report.books.dead == 1);
      CHECK(report.books.balanced());
      CHECK(tracker.status().queue_bytes == 0);
    }
    CHECK(seen.size() == 19);
    CHECK(std::ranges::count(seen.payloads, "later") == 1);
    std::ifstream file(dir / "dead-letter.ndjson");
    std::string line, more;
    REQUIRE(std::getline(file, line));
    CHECK(line.find("it is bad") != std::string::npos);
    CHECK_FALSE(std::getline(file, more));
    std::filesystem::remove_all(dir);
  }

  TEST_CASE("tracker: past the retry limit an event is dead") {
    Options options = quiet();
    options.workers = 1;
    options.retry_min = options.retry_max = 1ms;
    options.retry_limit = 3;
    std::atomic<int> calls{0};
    Tracker tracker(options, [&](const Delivery&) {
      ++calls;
      throw std::runtime_error("never");
    });
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    const Report report = tracker.shutdown(10s);
    CHECK(report.books.dead == 1);
    CHECK(calls == 3);
  }

  TEST_CASE("tracker: a retry is cut short by the stop, not dropped by it") {
    std::atomic<int> calls{0};
    Options options = quiet();
    options.workers = 1;
    options.retry_min = options.retry_max = 1h;
    Tracker tracker(options, [&](const Delivery&) {
      if (++calls == 1) throw std::runtime_error("once");
    });
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    CHECK(eventually([&] { return calls == 1; }));
    const Report report = tracker.shutdown(10s);
    CHECK(report.reason == Reason::drained);
    CHECK(report.books.delivered == 1);
    CHECK(report.elapsed < 5s);
  }

  TEST_CASE("tracker: a sink that sleeps past the deadline is left behind, named, and its batch counted once") {
    auto latch = std::make_shared<Latch>();
    Options options = quiet();
    options.workers = 2;
    options.batch_events = 4;
    {
      Tracker tracker(options, [latch](const Delivery&) { latch->pass(); });
      const std::vector<Event> many(100, Event("x"));
      CHECK(tracker.track(many) == Admit::accepted);
      CHECK(eventually([&] { return latch->inside == 2; }));
      const auto began = Clock::now();
      const Report report = tracker.shutdown(200ms);
      CHECK(Clock::now() - began < 1s);
      CHECK(report.timed_out());
      CHECK(report.reason == Reason::deadline);
      CHECK(report.books.accepted == 100);
      CHECK(report.books.lost == 100);
      CHECK(report.books.balanced());
      CHECK(report.held_up_by.size() == 2);
      CHECK(report.held_up_by[0].sink == "handler");
      CHECK(to_string(report).starts_with(
          "stopped reason=deadline accepted=100 delivered=0 dead=0 kept=0 lost=100 replayed=0 elapsed=0."));
      CHECK(tracker.shutdown(1h).books.lost == 100);  // idempotent: the same report, at once
    }
    latch->open = true;  // the workers come back after the tracker is gone, and change nothing
    CHECK(eventually([&] { return latch->inside == 0; }));
  }

  TEST_CASE("tracker: a sink that heeds its stop token is joined past the deadline") {
    Options options = quiet();
    options.workers = 1;
    auto left = std::make_shared<std::atomic<bool>>(false);
    Tracker tracker(options, sinks([left](std::span<const Delivery>, std::span<Verdict>, std::stop_token stop) {
                      while (!stop.stop_requested()) std::this_thread::sleep_for(100us);
                      *left = true;
                    }));
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    const Report report = tracker.shutdown(150ms);
    CHECK(report.reason == Reason::deadline);
    CHECK(report.held_up_by.empty());
    CHECK(*left);
    CHECK(report.books.lost == 1);
  }

  TEST_CASE("tracker: a shutdown of 0 still gets its 100 ms, and drains what is quick") {
    Seen seen;
    Tracker tracker(quiet(), [&](const Delivery& event) { seen.add(event); });
    for (int i = 0; i < 100; ++i) CHECK(tracker.track(Event("x")) == Admit::accepted);
    const Report report = tracker.shutdown(0s);
    CHECK(report.books.accepted == 100);
    CHECK(report.books.balanced());
    CHECK(seen.size() >= report.books.delivered);
    CHECK(report.books.delivered == 100);
  }

  TEST_CASE("tracker: a shutdown from two threads is one shutdown, with one report") {
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> handled{0};
      Tracker tracker(quiet(), [&](const Delivery&) { ++handled; });
      for (int i = 0; i < 50; ++i) CHECK(tracker.track(Event("x")) == Admit::accepted);
      Report one, two;
      {
        std::jthread a([&] { one = tracker.shutdown(10s); });
        std::jthread b([&] { two = tracker.shutdown(20s); });
      }
      REQUIRE(to_string(one) == to_string(two));
      REQUIRE(one.books.delivered == 50);
      REQUIRE(handled == 50);
    }
  }

  TEST_CASE("tracker: hasten moves a stop forward, and its report says that it was in a hurry") {
    auto latch = std::make_shared<Latch>();
    Tracker tracker(quiet(), [latch](const Delivery&) { latch->pass(); });
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    Report report;
    {
      std::jthread stopper([&] { report = tracker.shutdown(1h); });
      CHECK(eventually([&] { return tracker.status().phase == Phase::draining; }));
      Host(tracker).hasten(Clock::now());
    }
    CHECK(report.reason == Reason::signal);
    CHECK(report.books.lost == 1);
    latch->open = true;
  }

  TEST_CASE("tracker: a destructor without shutdown drains what is quick and tells of what it left") {
    std::atomic<int> handled{0};
    {
      Tracker tracker(quiet(), [&](const Delivery&) { ++handled; });
      for (int i = 0; i < 10; ++i) CHECK(tracker.track(Event("x")) == Admit::accepted);
    }
    CHECK(handled == 10);

    auto latch = std::make_shared<Latch>();
    std::atomic<bool> told{false};
    Options options;
    options.log = [&](LogLevel, std::string_view line) {
      if (line.find("lost=1") != std::string_view::npos) told = true;
    };
    {
      Tracker tracker(options, [latch](const Delivery&) { latch->pass(); });
      CHECK(tracker.track(Event("x")) == Admit::accepted);
    }
    CHECK(told);
    latch->open = true;
  }

  TEST_CASE("tracker: a factory that returns nothing refuses the start") {
    CHECK_THROWS_WITH_AS(Tracker(Options{}, [](const SinkContext&) { return std::unique_ptr<Sink>(); }),
                         "sinks: the factory returned no sink", StartError);
  }

  TEST_CASE("tracker: a factory that throws refuses the start, and the other workers go") {
    std::atomic<int> made{0};
    const SinkFactory factory = [&](const SinkContext&) -> std::unique_ptr<Sink> {
      if (++made == 3) throw StartError(StartError::Kind::io, "no sink today");
      return std::make_unique<
          FunctionSink<std::function<void(std::span<const Delivery>, std::span<Verdict>, std::stop_token)>>>(
          [](auto, auto verdicts, auto) { deliver_all(verdicts); });
    };
    Options options = quiet();
    options.workers = 4;
    CHECK_THROWS_WITH_AS(Tracker(options, factory), "no sink today", StartError);
  }

  TEST_CASE("tracker: options out of range are refused by name") {
    Options options = quiet();
    options.queue_events = 0;
    CHECK_THROWS_WITH_AS(Tracker(options, Handler([](const Delivery&) {})), "queue_events: 1 to 2^30", StartError);
    options = quiet();
    options.ack = Ack::synced;
    CHECK_THROWS_AS(Tracker(options, Handler([](const Delivery&) {})), StartError);
  }

  TEST_CASE("tracker: a second one on the same state directory is refused as in use") {
    const auto dir = std::filesystem::temp_directory_path() / ("sluice-held-" + std::to_string(::getpid()));
    Options options = quiet();
    options.state_dir = dir;
    const Tracker first(options, Handler([](const Delivery&) {}));
    try {
      const Tracker second(options, Handler([](const Delivery&) {}));
      FAIL("it started");
    } catch (const StartError& error) {
      CHECK(error.kind() == StartError::Kind::in_use);
    }
    std::filesystem::remove_all(dir);
  }

  TEST_CASE("tracker: the books balance at every instant under load") {
    std::atomic<bool> going{true};
    Tracker tracker(quiet(), [](const Delivery&) {});
    std::jthread producer([&] {
      const std::vector<Event> many(64, Event("x"));
      while (going) static_cast<void>(tracker.track(many));
    });
    for (int i = 0; i < 20000; ++i) {
      const Books books = tracker.books();
      REQUIRE(books.balanced());
      REQUIRE(books.kept <= 65536 + 64);
    }
    going = false;
    producer.join();
    CHECK(tracker.shutdown(10s).reason == Reason::drained);
  }

  TEST_CASE("tracker: lingering fills the batch, and a stop does not wait for it") {
    Seen seen;
    Options options = quiet();
    options.workers = 1;
    options.batch_linger = 1h;
    Tracker tracker(options, [&](const Delivery& event) { seen.add(event); });
    CHECK(tracker.track(Event("x")) == Admit::accepted);
    const Report report = tracker.shutdown(10s);
    CHECK(report.reason == Reason::drained);
    CHECK(report.books.delivered == 1);
    CHECK(report.elapsed < 5s);
  }

  TEST_CASE("tracker: an idle worker is woken by one event") {
    std::atomic<int> handled{0};
    Options options = quiet();
    options.workers = 4;
    Tracker tracker(options, [&](const Delivery&) { ++handled; });
    for (int i = 1; i <= 50; ++i) {
      std::this_thread::sleep_for(i % 5 == 0 ? 15ms : 0ms);  // long enough that all workers are parked
      CHECK(tracker.track(Event("x")) == Admit::accepted);
      REQUIRE(eventually([&] { return handled == i; }));
    }
  }
}
