// Events that are sent again: how long they wait, who waits with them, and that nobody waits for them. The lane and the
// sink's health alone, at times that the test makes; then both beneath a tracker.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sluice/deadline.h"
#include "sluice/host.h"
#include "sluice/tracker.h"
#include "unit/pool_support.h"
#include "workers/backoff.h"
#include "workers/batch.h"
#include "workers/retry_lane.h"
#include "workers/sink_health.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::eventually;
using test::Latch;
using test::quiet;
using test::sinks;
using Clock = std::chrono::steady_clock;
using Probe = SinkHealth::Probe;

namespace {

// Blocks behind a door, as runs for the lane.
struct Blocks {
  Admission door{1 << 20, 1 << 30};
  BlockMemory memory{0};
  std::uint64_t next = 1;

  Slice make(std::size_t events) {
    const std::vector<Event> texts(events, Event("x"));
    auto answer = door.try_admit(events, Block::bytes_for(texts, {}));
    Block* const block = Block::make(memory, texts, std::move(std::get<Ticket>(answer)), {}).release();
    block->ticket().give_back_events();
    block->number({}, next);
    next += events;
    return {block, 0, static_cast<std::uint32_t>(events)};
  }
};

std::vector<std::uint64_t> sequences(const Batch& batch) {
  std::vector<std::uint64_t> all;
  for (const Delivery& delivery : batch.deliveries()) all.push_back(delivery.id.sequence);
  return all;
}

// A sink that takes no poison. `how`: what it says of it.
enum class Says { suspect, throws, nothing };
test::Deliver poison_sink(Says how, std::atomic<std::size_t>& delivered, std::atomic<std::size_t>& failed) {
  return [=, &delivered, &failed](std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) {
    const auto is_poison = [](const Delivery& event) { return event.text().starts_with("poison"); };
    if (how == Says::throws && std::ranges::any_of(batch, is_poison)) {
      failed += batch.size();
      throw std::runtime_error("something in it");
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!is_poison(batch[i])) {
        verdicts[i] = Verdict::delivered;
        ++delivered;
        continue;
      }
      verdicts[i] = {how == Says::suspect ? Verdict::suspect : Verdict::try_again, "it is poison"};
      ++failed;
    }
  };
}

struct Log {
  std::mutex mutex;
  std::vector<std::string> lines;  // guarded by mutex
  LogHook hook() {
    return [this](LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex);
      lines.emplace_back(line);
    };
  }
  std::size_t count(std::string_view words) {
    const std::lock_guard lock(mutex);
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [&](const std::string& line) { return line.find(words) != std::string::npos; }));
  }
};

struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("sluice-lane-" + std::to_string(::getpid()));
  Directory() { std::filesystem::remove_all(path); }
  ~Directory() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_SUITE("retry") {
  TEST_CASE("backoff: each wait is twice the one before, up to the longest, and never beyond what a duration holds") {
    CHECK(backoff::doubled(10ms, 1s, 0) == 10ms);
    CHECK(backoff::doubled(10ms, 1s, 1) == 20ms);
    CHECK(backoff::doubled(10ms, 1s, 6) == 640ms);
    CHECK(backoff::doubled(10ms, 1s, 7) == 1s);
    CHECK(backoff::doubled(10ms, 1s, 4'000'000'000U) == 1s);
    CHECK(backoff::doubled(3ns, std::chrono::nanoseconds::max(), 100) == std::chrono::nanoseconds::max());
    CHECK(backoff::doubled(2s, 1s, 3) == 1s);
    const auto now = Clock::now();
    CHECK(backoff::after(now, std::chrono::nanoseconds::max(), Deadline::max()) == Deadline::max());
    CHECK(backoff::after(now, 5s, now + 10s) == now + 1s);
    CHECK(backoff::after(now, 5s, now - 10s) == now);
    CHECK(backoff::after(now, 5s, Deadline::max()) == now + 5s);
  }

  TEST_CASE("backoff: callers that failed together do not come back together") {
    std::minstd_rand random(1);
    std::set<std::int64_t> tenths;
    for (int i = 0; i < 1000; ++i) {
      const auto wait = backoff::jittered(0ns, 100ns, random);
      REQUIRE(wait >= 0ns);
      REQUIRE(wait <= 100ns);
      tenths.insert(wait.count() / 10);
    }
    CHECK(tenths.size() >= 10);
  }

  TEST_CASE("retry lane: a batch comes out as it went in, not before it is due, and what is due first comes first") {
    Blocks blocks;
    {
      RetryLane lane;
      CHECK(lane.next_due() == Deadline::max());
      const auto now = Clock::now();
      const std::vector<Slice> late{blocks.make(3)};
      const std::vector<Slice> soon{blocks.make(2), blocks.make(1)};
      lane.put(late, {.attempt = 2, .passed_over = 1, .delivered_then = 7, .suspect = true}, 2h);
      lane.put(soon, {.attempt = 3, .passed_over = 0, .delivered_then = 0, .suspect = false}, 1h);
      CHECK(lane.events() == 6);
      CHECK(lane.next_due() >= now + 1h);
      CHECK(lane.next_due() < now + 90min);
      Batch batch(512);
      CHECK_FALSE(lane.try_take(now + 59min, batch));
      REQUIRE(lane.try_take(now + 3h, batch));
      CHECK(sequences(batch) == std::vector<std::uint64_t>{4, 5, 6});
      CHECK(batch.deliveries()[0].attempt == 3);
      CHECK(lane.events() == 3);
      Batch other(512);
      REQUIRE(lane.try_take(now + 3h, other));
      CHECK(sequences(other) == std::vector<std::uint64_t>{1, 2, 3});
      CHECK(other.past().attempt == 2);
      CHECK(other.past().passed_over == 1);
      CHECK(other.past().delivered_then == 7);
      CHECK(other.past().suspect);
      CHECK(lane.next_due() == Deadline::max());
    }
    CHECK(blocks.door.bytes_out() == 0);
  }

  TEST_CASE("retry lane: what is left in it, and what was put aside, is given back when it goes") {
    Blocks blocks;
    {
      RetryLane lane;
      const std::vector<Slice> waiting{blocks.make(3)};
      lane.put(waiting, {}, 1h);
      std::vector<Slice> aside{blocks.make(2)};
      lane.keep(aside);
      CHECK(aside.empty());
      CHECK(blocks.door.bytes_out() > 0);
    }
    CHECK(blocks.door.bytes_out() == 0);
  }

  TEST_CASE(
      "retry lane: a stop cuts each wait to a tenth of its time, those that come later too, and some to nothing") {
    Blocks blocks;
    RetryLane lane;
    const auto put = [&](const Past& past) {
      const std::vector<Slice> runs{blocks.make(1)};
      lane.put(runs, past, 1h);
    };
    put({.attempt = 2, .passed_over = 0, .delivered_then = 10, .suspect = false});  // 1: nothing came through since
    put({.attempt = 2, .passed_over = 0, .delivered_then = 9, .suspect = false});   // 2: something did
    put({.attempt = 2, .passed_over = 1, .delivered_then = 10, .suspect = false});  // 3: something did before
    put({.attempt = 2, .passed_over = 0, .delivered_then = 10, .suspect = true});   // 4: the sink works
    const auto now = Clock::now();
    lane.hurry(now, now + 100s, 10);
    put({.attempt = 2, .passed_over = 0, .delivered_then = 10, .suspect = false});  // 5: after it
    std::set<std::uint64_t> at_once;
    for (int i = 0; i < 3; ++i) {
      Batch batch(1);
      REQUIRE(lane.try_take(now, batch));
      at_once.insert(sequences(batch).front());
    }
    CHECK(at_once == std::set<std::uint64_t>{2, 3, 4});
    Batch batch(1);
    CHECK_FALSE(lane.try_take(now + 9s, batch));
    REQUIRE(lane.try_take(now + 10s, batch));
    CHECK(sequences(batch).front() == 1);
    Batch last(1);
    CHECK(lane.try_take(Clock::now() + 10s, last));
  }

  TEST_CASE("retry lane: in halves, no event is twice in it or missing") {
    Blocks blocks;
    RetryLane lane;
    const std::vector<Slice> runs{blocks.make(2), blocks.make(5), blocks.make(2)};
    lane.put(runs, {.attempt = 4, .passed_over = 1, .delivered_then = 0, .suspect = false}, 0s, true);
    CHECK(lane.events() == 9);
    std::vector<std::vector<std::uint64_t>> halves;
    for (int i = 0; i < 2; ++i) {
      Batch batch(512);
      REQUIRE(lane.try_take(Clock::now(), batch));
      halves.push_back(sequences(batch));
    }
    std::ranges::sort(halves);
    CHECK(halves[0] == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
    CHECK(halves[1] == std::vector<std::uint64_t>{6, 7, 8, 9});
  }

  TEST_CASE("sink health: a failing sink is tried by one at a time, not before half its interval, at all after it") {
    SinkHealth health(100ms, 30s);
    const auto start = Clock::now();
    CHECK_FALSE(health.troubled());
    REQUIRE(health.failed(start, Probe::none, false, "dead"));
    CHECK(health.troubled());
    CHECK(health.failing());
    CHECK(health.state().reason == "dead");
    CHECK(health.try_probe(start + 49ms, true, true).probe == Probe::none);
    auto now = start + 100ms;
    Probe probe = health.try_probe(now, true, true).probe;
    CHECK(probe == Probe::fresh);
    CHECK(health.try_probe(now, true, true).probe == Probe::none);  // the first has not answered
    CHECK(health.try_probe(now + 999ms, true, true).probe == Probe::none);
    // Twice 100 ms, twice 200, … and a second at last; fresh and old in turn.
    std::chrono::milliseconds interval = 100ms;
    for (int i = 1; i < 20; ++i) {
      CAPTURE(i);
      static_cast<void>(health.failed(now, probe, false, "dead"));
      if (i % 2 == 0) interval = std::min<std::chrono::milliseconds>(2 * interval, 1000ms);
      REQUIRE(health.try_probe(now + interval / 2 - 1ms, true, true).probe == Probe::none);
      now += interval;
      const Probe next = health.try_probe(now, true, true).probe;
      REQUIRE(next == (probe == Probe::fresh ? Probe::old : Probe::fresh));
      probe = next;
    }
    CHECK(health.worked());
    CHECK_FALSE(health.troubled());
    CHECK_FALSE(health.state().failing);
    CHECK_FALSE(health.worked());
  }

  TEST_CASE("sink health: the intervals between probes are not all alike") {
    std::set<Clock::duration> waits;
    const auto start = Clock::now();
    for (int i = 0; i < 50; ++i) {
      SinkHealth health(100ms, 30s);
      static_cast<void>(health.failed(start, Probe::none, false, "dead"));
      waits.insert(health.try_probe(start, true, true).until - start);
    }
    CHECK(waits.size() > 10);
    CHECK(*waits.begin() >= 50ms);
    CHECK(*waits.rbegin() <= 100ms);
  }

  TEST_CASE("sink health: a probe that hangs keeps others from it for a second, not for ever") {
    SinkHealth health(100ms, 30s);
    const auto start = Clock::now();
    static_cast<void>(health.failed(start, Probe::none, false, "dead"));
    REQUIRE(health.try_probe(start + 100ms, true, false).probe == Probe::fresh);
    CHECK(health.try_probe(start + 1s, true, false).probe == Probe::none);
    CHECK(health.try_probe(start + 1100ms, true, false).probe == Probe::fresh);
  }

  TEST_CASE("sink health: retry_min is never undercut, and a call from before the trouble changes nothing") {
    SinkHealth health(1h, 1h);
    const auto start = Clock::now();
    static_cast<void>(health.failed(start, Probe::none, false, "dead"));
    CHECK_FALSE(health.failed(start + 1s, Probe::none, false, "dead"));
    CHECK(health.try_probe(start + 29min, true, true).probe == Probe::none);
    health.hurry(start + 30s, start + 40s);
    CHECK(health.try_probe(start + 30s, true, true).probe == Probe::none);
    CHECK(health.try_probe(start + 31s, true, true).probe == Probe::fresh);
  }

  TEST_CASE("sink health: a failure of what is known to fail is no failing sink: fresh events are tried at once") {
    SinkHealth health(100ms, 30s);
    const auto start = Clock::now();
    REQUIRE(health.failed(start, Probe::none, true, "poison"));
    CHECK(health.troubled());
    CHECK_FALSE(health.failing());
    CHECK_FALSE(health.state().failing);
    CHECK(health.try_probe(start, false, true).probe == Probe::none);
    CHECK(health.try_probe(start, false, true).on_events);
    CHECK(health.try_probe(start, true, true).probe == Probe::fresh);
    CHECK(health.try_probe(start, true, true).probe == Probe::none);
    REQUIRE(health.failed(start, Probe::fresh, false, "dead"));
    CHECK(health.failing());
  }

  TEST_CASE("sink health: fresh events that come while there were none do not wait for the interval to end") {
    SinkHealth health(100ms, 30s);
    auto now = Clock::now();
    static_cast<void>(health.failed(now, Probe::none, false, "dead"));
    for (int i = 0; i < 12; ++i) {
      now += 1s;
      REQUIRE(health.try_probe(now, false, true).probe == Probe::old);
      static_cast<void>(health.failed(now, Probe::old, false, "dead"));
    }
    CHECK(health.try_probe(now + 100ms, false, true).on_events);
    CHECK(health.try_probe(now + 99ms, true, true).probe == Probe::none);
    CHECK(health.try_probe(now + 100ms, true, true).probe == Probe::fresh);
  }

  TEST_CASE("retry: as many poisoned events as workers do not keep 100 others from being delivered") {
    for (const Says how : {Says::suspect, Says::nothing, Says::throws}) {
      CAPTURE(static_cast<int>(how));
      std::atomic<std::size_t> delivered{0}, failed{0};
      Options options = quiet(2);
      options.batch_events = 10;
      Tracker tracker(options, sinks(poison_sink(how, delivered, failed)));
      for (int i = 0; i < 2; ++i) {
        REQUIRE(tracker.track(Event("poison")) == Admit::accepted);
        REQUIRE(eventually([&] { return failed > static_cast<std::size_t>(i); }));
      }
      const auto began = Clock::now();
      for (int i = 0; i < 100; ++i) REQUIRE(tracker.track(Event("good")) == Admit::accepted);
      CHECK(eventually([&] { return tracker.books().delivered == 100; }));
      CHECK(Clock::now() - began < 3s);  // a second, and room for a busy machine
      CHECK(tracker.status().retrying <= 2);
      const Report report = tracker.shutdown(1min);
      CHECK(report.reason == Reason::sink);
      CHECK_FALSE(report.drained());
      CHECK(report.books.lost + report.books.dead == 2);  // there is no state directory
      CHECK(report.elapsed < 10s);
    }
  }

  TEST_CASE("retry: a queue nearly full of suspects delays the others by less than a second, and they become dead") {
    std::atomic<std::size_t> delivered{0}, failed{0};
    Options options = quiet(2);
    Log log;
    Tracker tracker(options, sinks(poison_sink(Says::suspect, delivered, failed)));
    const std::vector<Event> poison(1000, Event("poison"));
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    constexpr std::size_t kThousands = 5;  // a sanitizer takes a hundred times as long
#else
    constexpr std::size_t kThousands = 65;
#endif
    for (std::size_t i = 0; i < kThousands; ++i) REQUIRE(tracker.track(poison) == Admit::accepted);
    REQUIRE(eventually([&] { return failed >= kThousands * 1000; }));
    const auto began = Clock::now();
    std::size_t sent = 0;
    for (int i = 0; i < 10; ++i) {
      REQUIRE(tracker.track(Event("good")) == Admit::accepted);
      ++sent;
      CHECK(eventually([&] { return tracker.books().delivered == sent; }));
    }
    CHECK(Clock::now() - began < 6s);
    // Each is passed over once more by what comes after it.
    CHECK(eventually([&] {
      sent += tracker.track(Event("good")) == Admit::accepted ? 1U : 0U;
      return tracker.books().dead == kThousands * 1000;
    }));
    const Report report = tracker.shutdown(1min);
    CHECK(report.drained());
    CHECK(report.books.delivered == sent);
    CHECK(failed >= 5 * kThousands * 1000);
  }

  TEST_CASE("retry: a suspect is dead after five failures while others were delivered, with its reason, not before") {
    std::atomic<std::size_t> attempts{0};
    Log log;
    Options options = quiet();
    options.log = log.hook();
    options.retry_min = options.retry_max = 1ms;
    Tracker tracker(options, sinks([&](std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) {
                      for (std::size_t i = 0; i < batch.size(); ++i) {
                        if (batch[i].text() == "suspect") {
                          ++attempts;
                          verdicts[i] = {Verdict::suspect, "malformed"};
                        } else {
                          verdicts[i] = Verdict::delivered;
                        }
                      }
                    }));
    REQUIRE(tracker.track(Event("suspect")) == Admit::accepted);
    REQUIRE(eventually([&] { return attempts >= 20; }));  // alone it fails for as long as it likes
    CHECK(tracker.books().dead == 0);
    for (std::uint64_t i = 1; i <= 5; ++i) {
      CHECK(tracker.books().dead == 0);
      const std::size_t before = attempts;
      REQUIRE(tracker.track(Event("good")) == Admit::accepted);
      REQUIRE(eventually([&] { return tracker.books().delivered == i; }));
      REQUIRE(eventually([&] { return attempts >= before + 2 || tracker.books().dead == 1; }));
    }
    CHECK(eventually([&] { return tracker.books().dead == 1; }));
    CHECK(log.count("it failed 5 times while others were delivered: malformed") == 1);
    CHECK(tracker.shutdown(10s).drained());
  }

  TEST_CASE(
      "retry: a dead sink is called no more often than backoff allows, by one worker, and the rest stays queued") {
    constexpr std::size_t kWorkers = 8;
    std::atomic<std::size_t> calls{0}, probing{0}, together{0};
    std::atomic<bool> dead{true};
    Options options = quiet(kWorkers);
    options.batch_events = 10;
    options.retry_min = options.retry_max = 20ms;
    // The first call of each worker may begin before any has failed.
    Tracker tracker(options, sinks([&, is_first = true](auto, std::span<Verdict> verdicts, auto) mutable {
                      ++calls;
                      const bool is_probe = !std::exchange(is_first, false) && dead;
                      if (is_probe && ++probing > 1) ++together;
                      if (!dead) test::deliver_all(verdicts);
                      if (is_probe) --probing;
                    }));
    const auto began = Clock::now();
    const std::vector<Event> many(1000, Event("x"));
    REQUIRE(tracker.track(many) == Admit::accepted);
    REQUIRE(eventually([&] { return calls >= kWorkers + 20; }));
    const auto took = Clock::now() - began;
    const std::size_t until_now = calls;
    CHECK(took >= 10ms * (20 - 1));  // the first half of an interval is certain
    CHECK(together == 0);
    const Status status = tracker.status();
    CHECK(status.sink_failing);
    CHECK(status.sink_cause.empty());
    CHECK(status.retrying > 0);
    CHECK(status.retrying <= 10 * (until_now + 20));
    CHECK(status.queue_events == 1000);
    CHECK(Host(tracker).metrics().sink_failing);
    CHECK(Host(tracker).metrics().retry_events > 0);
    dead = false;
    CHECK(eventually([&] { return tracker.books().delivered == 1000; }));
    CHECK_FALSE(tracker.status().sink_failing);
    CHECK(tracker.status().retrying == 0);
    CHECK(tracker.shutdown(10s).drained());
  }

  TEST_CASE("retry: some batches of poison before them, and others are delivered past a sink that cannot tell") {
    std::atomic<std::size_t> delivered{0}, failed{0};
    Options options = quiet(2);
    options.batch_events = 16;
    options.retry_min = 10ms;
    Tracker tracker(options, sinks(poison_sink(Says::nothing, delivered, failed)));
    std::vector<Event> events(5 * 16, Event("poison"));
    events.insert(events.end(), 100, Event("good"));
    REQUIRE(tracker.track(events) == Admit::accepted);
    CHECK(eventually([&] { return tracker.books().delivered == 100; }));
    // And they are no failing sink, once others were delivered.
    REQUIRE(eventually([&] { return failed >= 3 * 5 * 16; }));
    CHECK(eventually([&] { return !tracker.status().sink_failing; }));
    CHECK(tracker.shutdown(1min).reason == Reason::sink);
  }

  TEST_CASE("retry: one poisoned event does not hold its neighbours where a sink fails whole batches") {
    std::atomic<std::size_t> delivered{0}, failed{0};
    Options options = quiet();
    options.batch_events = 64;
    options.retry_min = 1ms;
    options.retry_max = 2ms;
    Tracker tracker(options, sinks(poison_sink(Says::throws, delivered, failed)));
    std::vector<Event> events(64, Event("good"));
    events[37] = Event("poison");
    REQUIRE(tracker.track(events) == Admit::accepted);
    REQUIRE(eventually([&] { return failed >= 64; }));
    // Others show that the sink works.
    std::size_t sent = 0;
    while (sent < 100 && delivered < 63 + sent) {
      ++sent;
      REQUIRE(tracker.track(Event("good")) == Admit::accepted);
      const std::size_t before = failed;
      REQUIRE(eventually([&] { return failed > before || delivered == 63 + sent; }));
    }
    CHECK(eventually([&] { return tracker.books().delivered == 63 + sent; }));
    CHECK(sent < 100);
    const Report report = tracker.shutdown(10s);
    CHECK(report.reason == Reason::sink);
    CHECK(report.books.delivered == 63 + sent);
  }

  TEST_CASE("retry: suspects that fill the whole window become dead, and let in the others that they kept out") {
    std::atomic<std::size_t> delivered{0}, failed{0};
    Options options = quiet(2);
    options.queue_events = 100;
    options.batch_events = 10;
    options.retry_min = options.retry_max = 1ms;
    Tracker tracker(options, sinks(poison_sink(Says::suspect, delivered, failed)));
    const std::vector<Event> poison(100, Event("poison"));
    REQUIRE(tracker.track(poison) == Admit::accepted);
    const std::vector<Event> good(50, Event("good"));
    CHECK(tracker.wait_track(good, Clock::now() + 20s) == Admit::accepted);
    CHECK(tracker.books().dead >= 50);
    CHECK(eventually([&] { return tracker.books().delivered == 50; }));
  }

  TEST_CASE("retry: a poisoned event that came with others and then nothing more does not hold them for ever") {
    std::atomic<std::size_t> delivered{0}, failed{0};
    Options options = quiet();
    options.batch_events = 64;
    options.retry_min = 1ms;
    options.retry_max = 2ms;
    Tracker tracker(options, sinks(poison_sink(Says::throws, delivered, failed)));
    std::vector<Event> events(64, Event("good"));
    events[37] = Event("poison");
    REQUIRE(tracker.track(events) == Admit::accepted);
    CHECK(eventually([&] { return tracker.books().delivered == 63; }));
    CHECK(tracker.shutdown(10s).reason == Reason::sink);
  }

  TEST_CASE("retry: a stop takes no longer for what the sink does not take, names it, and the next start has it") {
    for (const Says how : {Says::suspect, Says::nothing}) {
      for (const Ack ack : {Ack::queued, Ack::synced}) {
        CAPTURE(static_cast<int>(how));
        CAPTURE(static_cast<int>(ack));
        const Directory directory;
        std::atomic<std::size_t> delivered{0}, failed{0};
        Log log;
        Options options = quiet(2);
        options.log = log.hook();
        options.state_dir = directory.path;
        options.ack = ack;
        options.batch_events = 10;
        options.retry_min = options.retry_max = 1h;
        {
          Tracker tracker(options, sinks(poison_sink(how, delivered, failed)));
          std::vector<Event> events(10, Event("good"));
          for (const std::size_t i : {0U, 4U, 5U, 9U}) events[i] = Event("poison");
          REQUIRE(tracker.track(events) == Admit::accepted);
          REQUIRE(eventually([&] { return tracker.status().retrying == 4; }));
          const Report report = tracker.shutdown(1min);
          CHECK(report.reason == Reason::sink);
          CHECK_FALSE(report.timed_out());
          CHECK_FALSE(report.drained());
          CHECK(report.elapsed < 20s);
          CHECK(report.books.delivered == 6);
          CHECK(report.books.kept == 4);
          CHECK(report.books.lost == 0);
          CHECK(report.books.balanced());
          CHECK(log.count("event is kept, the sink does not take it id=") == 4);
          CHECK(log.count("reason=\"it is poison\"") >= 4);
        }
        Tracker next(options, [](const Delivery&) {});
        CHECK(eventually([&] { return next.books().delivered == 4; }));
        CHECK(next.shutdown(10s).drained());
      }
    }
  }

  TEST_CASE("retry: a stop tries a sink that fails everything up to the deadline, and takes what it delivers then") {
    std::atomic<std::size_t> calls{0};
    Options options = quiet(2);
    options.retry_min = options.retry_max = 1h;
    Tracker tracker(options, sinks([&](auto, std::span<Verdict> verdicts, auto) {
                      if (++calls >= 4) test::deliver_all(verdicts);
                    }));
    REQUIRE(tracker.track(Event("x")) == Admit::accepted);
    REQUIRE(eventually([&] { return calls == 1; }));
    const Report report = tracker.shutdown(3s);
    CHECK(report.drained());
    CHECK(report.books.delivered == 1);
    CHECK(calls == 4);
  }

  TEST_CASE("retry: a stop does not wait for a sink that is gone") {
    for (const bool before : {true, false}) {
      CAPTURE(before);
      const Directory directory;
      const auto gone = std::make_shared<std::atomic<bool>>(before);
      const auto latch = std::make_shared<Latch>();
      Options options = quiet(2);
      options.state_dir = directory.path;
      options.batch_events = 10;
      std::atomic<std::size_t> calls{0};
      Tracker tracker(options, sinks(
                                   [&, latch, before](auto, auto, auto) {
                                     ++calls;
                                     if (!before) latch->pass();
                                   },
                                   gone));
      const std::vector<Event> many(1000, Event("x"));
      REQUIRE(tracker.track(many) == Admit::accepted);
      REQUIRE(eventually([&] { return calls >= 1; }));
      Report report;
      {
        std::jthread stopper([&] { report = tracker.shutdown(1h); });
        if (!before) {  // it goes while the stop is under way
          REQUIRE(eventually([&] { return tracker.status().phase == Phase::draining; }));
          *gone = true;
          latch->open();
        }
      }
      CHECK(report.reason == Reason::sink);
      CHECK(report.elapsed < 5s);
      CHECK(report.books.kept == 1000);
      CHECK(report.books.lost == 0);
    }
  }

  TEST_CASE("retry: a dead sink and a poisoned batch do not make the books forget anything at a deadline") {
    std::atomic<std::size_t> calls{0};
    Options options = quiet(4);
    options.batch_events = 7;
    options.retry_min = options.retry_max = 1ms;
    Tracker tracker(options, sinks([&](auto, auto, auto) { ++calls; }));
    const std::vector<Event> many(1000, Event("x"));
    REQUIRE(tracker.track(many) == Admit::accepted);
    REQUIRE(eventually([&] { return calls >= 30; }));
    const Report report = tracker.shutdown(200ms);
    CHECK(report.reason == Reason::deadline);
    CHECK(report.books.lost == 1000);
    CHECK(report.books.balanced());
    CHECK(Host(tracker).books_at_exit().lost == 1000);
  }
}
