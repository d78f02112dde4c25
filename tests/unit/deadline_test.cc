// "For ever" and the other ends of time, and a stop that is hurried: what a caller asks for is what he gets.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "journal/pace.h"
#include "model/memory_disk.h"
#include "model/tracker_on_disk.h"
#include "sinks/handler_sink.h"
#include "sinks/null_sink.h"
#include "sluice/deadline.h"
#include "sluice/gate.h"
#include "sluice/host.h"
#include "sluice/tracker.h"
#include "unit/blocked.h"

using namespace sluice;
using namespace std::chrono_literals;
using model::MemoryDisk;
using std::chrono::hours;
using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

namespace {

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

// Delivers every batch once it was shown to the test.
class ShownSink final : public Sink {
 public:
  using Show = std::function<void(std::span<const Delivery>)>;
  explicit ShownSink(Show show) : show_(std::move(show)) {}
  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token /*stop*/) override {
    show_(batch);
    for (Verdict& verdict : verdicts) verdict = Verdict::delivered;
  }

 private:
  Show show_;
};

SinkFactory sinks(const ShownSink::Show& show) {
  return [show](const SinkContext&) { return std::make_unique<ShownSink>(show); };
}

// One worker with this handler, and a disk behind it; quiet.
std::unique_ptr<Tracker> tracker_on(const MemoryDisk& disk, Options options, Handler handler) {
  options.workers = 1;
  options.log = [](LogLevel, std::string_view) {};
  return TrackerOnDisk::make(std::move(options), handler_sinks(std::move(handler)), disk.same(), journal::Pace{});
}

// Not std::atomic::wait(), which of g++ 12 may sleep on when it was notified.
void wait_for(const std::atomic<bool>& open) {
  while (!open) std::this_thread::sleep_for(1ms);
}

}  // namespace

TEST_SUITE("lifecycle") {
  TEST_CASE("deadline: a sum beyond the clock is its end, on both sides") {
    CHECK(sum(nanoseconds::max(), 1ns) == nanoseconds::max());
    CHECK(sum(1ns, nanoseconds::max()) == nanoseconds::max());
    CHECK(sum(nanoseconds::min(), -1ns) == nanoseconds::min());
    CHECK(sum(nanoseconds::max(), nanoseconds::min()) == -1ns);
    CHECK(sum(2ns, 3ns) == 5ns);
    CHECK(later(Deadline(5ns), nanoseconds::max()) == Deadline::max());
    CHECK(later(Deadline::max(), -1h) == Deadline::max());
    CHECK(later(Deadline(5ns), -2ns) == Deadline(3ns));
    CHECK(later(Deadline::min(), -1ns) == Deadline::min());
  }

  TEST_CASE("deadline: a difference beyond a duration is its end, on both sides") {
    CHECK(between(Deadline::min(), Deadline::max()) == nanoseconds::max());
    CHECK(between(Deadline::max(), Deadline::min()) == nanoseconds::min());
    CHECK(between(Deadline::min(), Deadline::min()) == 0ns);
    CHECK(between(Deadline::min(), Deadline(-1ns)) == nanoseconds::max());
    CHECK(between(Deadline(3ns), Deadline(5ns)) == 2ns);
    CHECK(between(Deadline(5ns), Deadline(3ns)) == -2ns);
    CHECK(time_left(Deadline::min()) == 0ns);
    CHECK(time_left(Deadline::max()) > hours(24 * 365 * 100));
  }

  TEST_CASE("deadline: a duration longer than 292 years is for ever, not a moment of the past") {
    CHECK(nanoseconds_of(hours::max()) == nanoseconds::max());
    CHECK(nanoseconds_of(hours::min()) == nanoseconds::min());
    CHECK(nanoseconds_of(std::chrono::duration<std::uint64_t>::max()) == nanoseconds::max());
    CHECK(nanoseconds_of(std::chrono::duration<std::int16_t, std::ratio<3600>>(2)) == 2h);
    CHECK(deadline_in(hours::max()) == Deadline::max());
    CHECK(deadline_in(nanoseconds::max()) == Deadline::max());
    CHECK(deadline_in(nanoseconds::min()) < Clock::now());
  }

  TEST_CASE("gate: a wait for ever ends with the last one inside and not before") {
    const std::array<std::function<bool(Gate&)>, 3> waits{
        [](Gate& gate) { return gate.wait_empty(Deadline::max()); },
        [](Gate& gate) { return gate.wait_empty(nanoseconds::max()); },
        [](Gate& gate) { return gate.wait_empty(hours::max()); }};
    for (const auto& wait : waits) {
      Gate gate;
      auto inside = gate.try_enter();
      std::optional<bool> empty;
      test::Blocker waiter([&] { empty = wait(gate); });
      CHECK(waiter.waits());
      inside.reset();
      REQUIRE(waiter.ends());
      CHECK(empty == true);
    }
  }

  TEST_CASE("gate: a wait until the far past asks once and does not wait") {
    Gate gate;
    const auto inside = gate.try_enter();
    CHECK_FALSE(gate.wait_empty(Deadline::min()));
    CHECK_FALSE(gate.wait_empty(nanoseconds::min()));
  }

  TEST_CASE("admission: a wait for room for ever gets it when it comes") {
    Admission door(1, 1000);
    auto held = std::make_optional(door.try_admit(1, 1));
    bool admitted = false;
    test::Blocker waiter([&] { admitted = std::holds_alternative<Ticket>(door.wait_admit(1, 1, Deadline::max())); });
    CHECK(waiter.waits());
    held.reset();
    REQUIRE(waiter.ends());
    CHECK(admitted);
  }

  TEST_CASE("tracker: a shutdown without an end drains all and says so") {
    const std::array<std::function<Report(Tracker&)>, 3> shutdowns{
        [](Tracker& tracker) { return tracker.shutdown(Deadline::max()); },
        [](Tracker& tracker) { return tracker.shutdown(nanoseconds::max()); },
        [](Tracker& tracker) { return tracker.shutdown(hours::max()); }};
    for (const auto& shutdown : shutdowns) {
      for (const Ack ack : {Ack::queued, Ack::synced}) {
        CAPTURE(static_cast<int>(ack));
        // The handler returns only once the stop is under way: by a deadline in the past the events would be lost.
        std::atomic<bool> open{false};
        const MemoryDisk disk(1);
        Options options;
        options.ack = ack;
        // Small segments: the disk of the test looks at each byte of one.
        options.queue_events = 100;
        options.queue_bytes = options.max_event_bytes = 65536;
        options.journal_bytes = std::uint64_t{4} << 20U;
        const auto tracker = tracker_on(disk, options, [&](const Delivery&) { wait_for(open); });
        for (int i = 0; i < 30; ++i) REQUIRE(tracker->track(Event("x")) == Admit::accepted);
        Report report;
        test::Blocker stopper([&] { report = shutdown(*tracker); });
        CHECK(eventually([&] { return tracker->status().phase == Phase::draining; }));
        open = true;
        REQUIRE(stopper.ends());
        CHECK(report.reason == Reason::drained);
        CHECK(report.books.delivered == 30);
        CHECK(report.books.lost == 0);
      }
    }
  }

  TEST_CASE("tracker: a batch that may linger for ever waits for the event that fills it") {
    std::mutex mutex;
    std::vector<std::size_t> batches;  // guarded by mutex
    Options options;
    options.workers = 1;
    options.batch_events = 2;
    options.batch_linger = nanoseconds::max();
    Tracker tracker(options, sinks([&](std::span<const Delivery> batch) {
                      const std::lock_guard lock(mutex);
                      batches.push_back(batch.size());
                    }));
    REQUIRE(tracker.track(Event("a")) == Admit::accepted);
    // The worker has the first in hand, and either waits with it or has sent it alone.
    CHECK(eventually(
        [&] { return tracker.status().workers[0].state == WorkerState::taking || tracker.books().delivered == 1; }));
    REQUIRE(tracker.track(Event("b")) == Admit::accepted);
    CHECK(eventually([&] { return tracker.books().delivered == 2; }));
    const std::lock_guard lock(mutex);
    CHECK(batches == std::vector<std::size_t>{2});
  }

  TEST_CASE("null sink: a delay for ever ends by the stop alone") {
    const auto sink = null_sinks({.delay = nanoseconds::max()})({});
    std::stop_source stop;
    Verdict verdict;
    test::Blocker worker([&] { sink->deliver(std::vector<Delivery>(1), {&verdict, 1}, stop.get_token()); });
    CHECK(worker.waits());
    stop.request_stop();
    REQUIRE(worker.ends());
    CHECK(verdict.kind() == Verdict::try_again);
  }

  TEST_CASE("coordinator: a hasten from before the stop leaves it its least time") {
    const auto now = Clock::now();
    ShutdownCoordinator stop;
    CHECK_FALSE(stop.hasten(now - 1h));
    CHECK(stop.begin(now + 1h, now + 100ms));
    CHECK(stop.deadline() == now + 100ms);
    CHECK(stop.hastened());
    CHECK(stop.hasten(now + 50ms));
    CHECK(stop.deadline() == now + 50ms);
  }

  TEST_CASE("coordinator: a remembered hasten counts where it is nearer than what is asked for, and only there") {
    const auto now = Clock::now();
    ShutdownCoordinator nearer;
    CHECK_FALSE(nearer.hasten(now + 1min));
    CHECK(nearer.begin(now + 1h, now));
    CHECK(nearer.deadline() == now + 1min);
    CHECK(nearer.hastened());

    ShutdownCoordinator later;
    CHECK_FALSE(later.hasten(now + 1h));
    CHECK(later.begin(now + 1min, now));
    CHECK(later.deadline() == now + 1min);
    CHECK_FALSE(later.hastened());
  }

  TEST_CASE("tracker: a hasten long before the shutdown takes nothing of its least time") {
    const auto open = std::make_shared<std::atomic<bool>>(false);  // the worker that is left behind outlives the test
    Options options;
    options.workers = 1;
    options.log = [](LogLevel, std::string_view) {};
    Tracker tracker(options, [open](const Delivery&) { open->wait(false); });
    REQUIRE(tracker.track(Event("x")) == Admit::accepted);
    Host(tracker).hasten(Deadline::min());
    const Deadline remembered = deadline_in(Host(tracker).least_drain());
    while (Clock::now() < remembered) std::this_thread::yield();  // the time itself is what the test is about
    const Report report = tracker.shutdown(1h);
    CHECK(report.reason == Reason::signal);
    CHECK(report.elapsed >= 100ms);
    CHECK(report.elapsed < 1min);
    *open = true;
    open->notify_all();
  }

  TEST_CASE("tracker: a hurried stop under queued writes down at once what has no record") {
    std::atomic<bool> open{false};
    const MemoryDisk disk(1);
    const auto tracker = tracker_on(disk, {}, [&](const Delivery&) { wait_for(open); });
    REQUIRE(tracker->track(Event("x")) == Admit::accepted);
    Report report;
    test::Blocker stopper([&] { report = tracker->shutdown(Deadline::max()); });
    CHECK(eventually([&] { return tracker->status().phase == Phase::draining; }));
    CHECK(Host(*tracker).books_at_exit().lost == 1);
    Host(*tracker).hasten(Clock::now() + 1h);  // far: by the deadline itself everything is written down anyway
    CHECK(eventually([&] { return Host(*tracker).books_at_exit().lost == 0; }));
    open = true;
    REQUIRE(stopper.ends());
    CHECK(report.books.delivered == 1);
  }
}
