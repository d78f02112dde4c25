// The workers: what is in their hands, whose outcome it is at a deadline, and what becomes of it where memory or a disk
// fails them. The pool by itself where an instant has to be held, else beneath a tracker.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "journal/pace.h"
#include "model/memory_disk.h"
#include "model/tracker_on_disk.h"
#include "sluice/host.h"
#include "sluice/tracker.h"
#include "unit/blocked.h"
#include "unit/pool_support.h"

using namespace sluice;
using namespace std::chrono_literals;
using test::eventually;
using test::Latch;
using test::quiet;
using test::Rig;
using test::sinks;
using Clock = std::chrono::steady_clock;

namespace {

// Refuses all. It waits before its answer, or behind it, where it is asked whether it is gone.
class Refusing final : public Sink {
 public:
  Refusing(std::shared_ptr<Latch> latch, bool behind) : latch_(std::move(latch)), behind_(behind) {}
  void deliver(std::span<const Delivery> /*batch*/, std::span<Verdict> verdicts, std::stop_token /*stop*/) override {
    if (!behind_) latch_->pass();
    for (Verdict& verdict : verdicts) verdict = {Verdict::refused, "no"};
  }
  [[nodiscard]] bool gone() const noexcept override {
    if (behind_) latch_->pass();
    return false;
  }

 private:
  const std::shared_ptr<Latch> latch_;  // owners: the sinks, and the test
  const bool behind_;
};

}  // namespace

TEST_SUITE("pool") {
  TEST_CASE("queue: what is put back is popped first, in order, and by any worker") {
    const auto rig = std::make_shared<Rig>(quiet(2));
    for (const char* text : {"a", "b", "c", "d"}) rig->track(text);
    std::array<Slice, 3> first{};
    REQUIRE(rig->queue.try_pop(first) == 3);
    CHECK(rig->queue.size_approx() == 1);
    rig->queue.put_back(std::span(first).last(2));
    CHECK(rig->queue.size_approx() == 3);
    std::array<Slice, 4> rest{};
    REQUIRE(rig->queue.try_pop(rest) == 3);
    std::string order;
    for (const Slice& slice : {first[0], rest[0], rest[1], rest[2]}) {
      order += slice.block->delivery(slice.first).text();
      slice.block->release(slice.count);
    }
    CHECK(order == "abcd");
    CHECK(rig->door.bytes_out() == 0);
  }

  TEST_CASE("queue: what was put back when it closes is given back with the rest") {
    const auto rig = std::make_shared<Rig>(quiet());
    rig->track("a");
    std::array<Slice, 1> slice{};
    {
      EventQueue queue({}, 1, 1);
      REQUIRE(rig->queue.try_pop(slice) == 1);
      queue.put_back(slice);
      queue.close();
      CHECK(queue.try_pop(slice) == 0);
      CHECK(rig->door.bytes_out() > 0);
    }
    CHECK(rig->door.bytes_out() == 0);
  }

  TEST_CASE("queue: a nudge ends both waits, one from before they began too, and the time does") {
    EventQueue queue({}, 1, 1);
    const std::uint64_t seen = queue.nudges();
    {
      test::Blocker one([&] { queue.wait(seen, Deadline::max()); });
      test::Blocker two([&] { queue.wait_nudge(seen, Deadline::max()); });
      REQUIRE(one.waits());
      REQUIRE(two.waits());
      queue.nudge();
      CHECK(one.ends());
      CHECK(two.ends());
    }
    queue.wait(seen, Deadline::max());
    queue.wait_nudge(seen, Deadline::max());
    const auto until = Clock::now() + 20ms;
    queue.wait(queue.nudges(), until);
    queue.wait_nudge(queue.nudges(), until);
    CHECK(Clock::now() >= until);
  }

  TEST_CASE("queue: a worker that leaves by the clock is not counted as parked, and the next push wakes another") {
    const auto rig = std::make_shared<Rig>(quiet());
    for (int i = 0; i < 3; ++i) rig->queue.wait(rig->queue.nudges(), Clock::now() + 15ms);
    std::array<Slice, 1> slice{};
    for (int i = 0; i < 3; ++i) {
      test::Blocker worker([&] { rig->queue.wait(rig->queue.nudges(), Deadline::max()); });
      std::this_thread::sleep_for(15ms);  // past its naps: it is parked
      REQUIRE(worker.waits());
      rig->track("a");
      REQUIRE(worker.ends());
      REQUIRE(rig->queue.try_pop(slice) == 1);
      slice[0].block->release(1);
    }
  }

  TEST_CASE("pool: with one worker hung, the others deliver all that is not in its batch, however large events are") {
    const auto latch = std::make_shared<Latch>();
    std::atomic<std::size_t> batch_of_hung{0};
    std::atomic<bool> hangs{false};
    Tracker tracker(quiet(4), sinks([&, latch](std::span<const Delivery> batch, std::span<Verdict> verdicts, auto) {
                      if (!hangs.exchange(true)) {
                        batch_of_hung = batch.size();
                        latch->pass();
                      }
                      test::deliver_all(verdicts);
                    }));
    const std::string text(100 << 10U, 'x');
    const std::vector<Event> many(512, Event(text));
    REQUIRE(tracker.track(many) == Admit::accepted);
    REQUIRE(eventually([&] { return batch_of_hung > 0; }));
    CHECK(batch_of_hung <= 10);  // a MiB
    CHECK(eventually([&] { return tracker.books().delivered == 512 - batch_of_hung; }));
    // A worker is done with a batch a moment after its events count as delivered.
    CHECK(eventually([&] {
      std::size_t held = 0;
      for (const WorkerStatus& worker : tracker.status().workers) held += worker.events;
      return held == batch_of_hung;
    }));
    latch->open();
    CHECK(tracker.shutdown(10s).books.delivered == 512);
  }

  TEST_CASE("pool: events that fail are shown to any worker again, not only to the one that has failed on them") {
    // One worker hangs on the next batch; the other has to see the first one's retry.
    const auto latch = std::make_shared<Latch>();
    Options options = quiet(2);
    options.batch_events = 1;
    options.retry_min = options.retry_max = 1ms;
    std::atomic<int> tries{0};
    Tracker tracker(options, sinks([&, latch](std::span<const Delivery> batch, std::span<Verdict> verdicts, auto) {
                      if (batch[0].text() == "hang") latch->pass();
                      if (batch[0].text() != "again" || ++tries == 5) test::deliver_all(verdicts);
                    }));
    REQUIRE(tracker.track(Event("hang")) == Admit::accepted);
    REQUIRE(eventually([&] { return latch->waiting() == 1; }));
    REQUIRE(tracker.track(Event("again")) == Admit::accepted);
    CHECK(eventually([&] { return tracker.books().delivered == 1; }));
    latch->open();
    CHECK(tracker.shutdown(10s).drained());
  }

  TEST_CASE("pool: a retry that is due is seen by a worker that sleeps, whichever has put it there") {
    constexpr int kWorkers = 8;
    for (int round = 0; round < 4; ++round) {
      const auto latch = std::make_shared<Latch>();
      Options options = quiet(kWorkers);
      options.batch_events = 1;
      options.retry_min = options.retry_max = 400ms;
      Tracker tracker(options, sinks([latch](std::span<const Delivery> batch, std::span<Verdict> verdicts, auto) {
                        if (batch[0].text() == "hang") latch->pass();
                        verdicts[0] = Verdict::delivered;
                        if (batch[0].text() == "again" && batch[0].attempt == 1) verdicts[0] = {Verdict::suspect, "no"};
                      }));
      std::this_thread::sleep_for(20ms);  // past their naps: all are parked, until events come
      REQUIRE(tracker.track(Event("again")) == Admit::accepted);
      REQUIRE(eventually([&] { return tracker.status().retrying == 1 || tracker.books().delivered == 1; }));
      // All but one hang, mostly the one that has put it there as well.
      for (int i = 1; i < kWorkers; ++i) REQUIRE(tracker.track(Event("hang")) == Admit::accepted);
      CHECK(eventually([&] { return tracker.books().delivered == 1; }));
      latch->open();
      CHECK(tracker.shutdown(10s).drained());
    }
  }

  TEST_CASE("pool: an answer at the very deadline is counted before it or not at all") {
    std::minstd_rand random(7);
    int in_time = 0;
    int rounds = 0;
    // Until both have happened often.
    for (; rounds < 20'000 && (in_time < 50 || rounds - in_time < 50); ++rounds) {
      const auto latch = std::make_shared<Latch>();
      const auto rig = std::make_shared<Rig>(quiet());
      rig->start(sinks([latch](auto, std::span<Verdict> verdicts, auto) {
        latch->pass();
        test::deliver_all(verdicts);
      }));
      rig->track("x");
      REQUIRE(eventually([&] { return latch->waiting() == 1; }));
      latch->open();
      const auto at = Clock::now() + std::chrono::microseconds(random() % 100);
      while (Clock::now() < at) static_cast<void>(rig->queue.nudges());
      rig->queue.close();
      rig->pool->expire(Clock::now());
      const std::uint64_t delivered = rig->ledger.delivered();
      const std::size_t out = rig->door.events_out();
      REQUIRE(rig->pool->join(Clock::now() + 20s).empty());
      REQUIRE(rig->ledger.delivered() == delivered);  // it stays as it was at the deadline
      REQUIRE(rig->door.events_out() == out);
      REQUIRE(delivered + out == 1);
      in_time += delivered == 1 ? 1 : 0;
      rig->pool.reset();
    }
    CHECK(in_time >= 50);
    CHECK(rounds - in_time >= 50);
  }

  TEST_CASE("pool: a batch whose dead letters are being written at the deadline is dead, and not kept as well") {
    const auto writing = std::make_shared<Latch>();
    const auto rig = std::make_shared<Rig>(quiet());
    rig->start(sinks([](auto, std::span<Verdict> verdicts, auto) {
                 verdicts[0] = {Verdict::refused, "no"};
               }),
               {}, [writing](std::span<const DeadEvent>) {
                 writing->pass();
                 return std::error_code();
               });
    rig->track("x");
    REQUIRE(eventually([&] { return writing->waiting() == 1; }));
    CHECK(rig->pool->status()[0].state == WorkerState::burying);
    rig->queue.close();
    {
      test::Blocker coordinator([&] { rig->pool->expire(Clock::now() + 20s); });
      REQUIRE(coordinator.waits());
      writing->open();
      REQUIRE(coordinator.ends());
    }
    CHECK(rig->ledger.finished().dead == 1);
    CHECK(rig->door.events_out() == 0);
    CHECK(rig->pool->join(Clock::now() + 20s).empty());
    rig->pool.reset();
  }

  TEST_CASE("pool: a batch that was taken away before its dead letters were written is kept, and no dead letter") {
    // While the sink has it, or when its verdicts are being looked at.
    for (const bool behind_the_answer : {false, true}) {
      CAPTURE(behind_the_answer);
      const auto latch = std::make_shared<Latch>();
      const auto rig = std::make_shared<Rig>(quiet());
      std::atomic<int> buried{0};
      rig->start([&](const SinkContext&) { return std::make_unique<Refusing>(latch, behind_the_answer); }, {},
                 [&](std::span<const DeadEvent>) {
                   ++buried;
                   return std::error_code();
                 });
      rig->track("x");
      REQUIRE(eventually([&] { return latch->waiting() == 1; }));
      rig->queue.close();
      rig->pool->expire(Clock::now());
      latch->open();
      CHECK(rig->pool->join(Clock::now() + 20s).empty());
      CHECK(buried == 0);
      CHECK(rig->ledger.finished().dead == 0);
      CHECK(rig->door.events_out() == 1);
      rig->pool.reset();
    }
  }

  TEST_CASE(
      "pool: dead letters on a disk that does not answer do not hold up the deadline, and are not booked after it") {
    const auto writing = std::make_shared<Latch>();
    const auto rig = std::make_shared<Rig>(quiet());
    rig->start(sinks([](auto, std::span<Verdict> verdicts, auto) {
                 verdicts[0] = {Verdict::refused, "no"};
               }),
               {}, [writing](std::span<const DeadEvent>) {
                 writing->pass();
                 return std::error_code();
               });
    rig->track("x");
    REQUIRE(eventually([&] { return writing->waiting() == 1; }));
    rig->queue.close();
    rig->pool->expire(Clock::now());
    writing->open();
    CHECK(rig->pool->join(Clock::now() + 20s).empty());
    CHECK(rig->ledger.finished().dead == 0);
    CHECK(rig->door.events_out() == 1);
    rig->pool.reset();
  }

  TEST_CASE("pool: memory that is out outside a sink ends no worker, and no event is lost by it") {
    const auto rig = std::make_shared<Rig>([] {
      Options options = quiet();
      options.retry_min = options.retry_max = 1ms;
      return options;
    }());
    std::atomic<int> settled{0}, buried{0};
    rig->start(
        sinks([](std::span<const Delivery> batch, std::span<Verdict> verdicts, auto) {
          if (batch[0].text() == "bad") {
            verdicts[0] = {Verdict::refused, "no"};
          } else {
            verdicts[0] = Verdict::delivered;
          }
        }),
        [&](Block&, std::uint64_t, std::uint32_t) {
          if (++settled == 1) throw std::bad_alloc();
        },
        [&](std::span<const DeadEvent>) -> std::error_code {
          if (++buried <= 2) throw std::bad_alloc();
          return {};
        });
    rig->track("good");
    CHECK(eventually([&] { return rig->door.events_out() == 0; }));
    rig->track("bad");
    CHECK(eventually([&] { return rig->door.events_out() == 0; }));
    CHECK(rig->ledger.delivered() == 1);
    CHECK(rig->ledger.finished().dead == 1);
    CHECK(buried == 3);
    CHECK(settled == 2);
    CHECK(rig->end().empty());
    rig->pool.reset();
  }

  TEST_CASE("tracker: a worker that was left behind never calls the log hook once the tracker is gone") {
    struct World {
      std::atomic<bool> is_gone{false};
      std::atomic<int> inside{0}, late{0};
      Latch latch, done;
    };
    const auto world = std::make_shared<World>();
    Options options;
    options.workers = 1;
    options.log = [world](LogLevel, std::string_view line) {
      if (world->is_gone) ++world->late;
      if (line != "from the sink") return;
      // The hook takes a while, and the tracker goes meanwhile, if it does not wait.
      ++world->inside;
      for (const auto end = Clock::now() + 100ms; Clock::now() < end && !world->is_gone;) std::this_thread::yield();
      if (world->is_gone) ++world->late;
    };
    const SinkFactory factory = [world](const SinkContext& context) {
      return std::make_unique<test::FunctionSink>(
          [world, log = context.log](auto, auto, auto) {
            world->latch.pass();
            log(LogLevel::warn, "from the sink");
            world->done.pass();
            log(LogLevel::warn, "from beyond");
          },
          nullptr);
    };
    {
      Tracker tracker(options, factory);
      REQUIRE(tracker.track(Event("x")) == Admit::accepted);
      REQUIRE(eventually([&] { return world->latch.waiting() == 1; }));
      CHECK(tracker.shutdown(0s).held_up_by.size() == 1);
      world->latch.open();
      REQUIRE(eventually([&] { return world->inside == 1; }));
    }
    world->is_gone = true;
    REQUIRE(eventually([&] { return world->done.waiting() == 1; }));
    world->done.open();
    REQUIRE(
        eventually([&] { return world.use_count() <= 3; }));  // the worker has gone: we, the hook's and the factory's
    CHECK(world->late == 0);
  }

  TEST_CASE("tracker: what a stop has called lost counts once in the books of an exit after it, beside what is kept") {
    model::MemoryDisk disk(1);
    std::atomic<bool> asked{false};
    Options options = quiet();
    options.retry_min = options.retry_max = 1h;
    const auto make = [&] {
      asked = false;
      return TrackerOnDisk::make(options, sinks([&](auto, auto, auto) { asked = true; }), disk.same(), {});
    };
    {
      const auto first = make();
      REQUIRE(first->track(Event("kept")) == Admit::accepted);
      CHECK(first->shutdown(0s).books.kept == 1);
    }
    const auto tracker = make();
    REQUIRE(eventually([&] { return asked.load(); }));
    REQUIRE(tracker->track(Event("lost")) == Admit::accepted);
    REQUIRE(Host(*tracker).books_at_exit().lost == 1);  // it has no record yet
    disk.fail({.call = model::Call::write, .lasts = true});
    disk.fail({.call = model::Call::create, .lasts = true});
    const Report report = tracker->shutdown(0s);
    CHECK(report.books.kept == 1);
    CHECK(report.books.lost == 1);
    const Books books = Host(*tracker).books_at_exit();
    CHECK(books.kept == 1);
    CHECK(books.lost == 1);
    CHECK(books.balanced());
  }
}
