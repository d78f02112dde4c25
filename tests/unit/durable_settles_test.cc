// Under Ack::written: nothing is settled before its sink was synced, and sinks are synced in time. Over the disk in
// memory, with sinks whose sync() the test holds or fails; each moment is made, not waited for.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "journal/pace.h"
#include "journal_support.h"
#include "model/tracker_on_disk.h"
#include "queue/event_queue.h"
#include "sluice/host.h"

using namespace journal_support;

namespace {

constexpr std::chrono::milliseconds kNever = std::chrono::hours(1);
// A sink that syncs in no time is asked to as often as settles are written.
constexpr Pace pace(std::chrono::milliseconds sync_every) {
  return {.settle_every = sync_every == kNever ? kNever : 1ms, .sync_every = sync_every, .look_every = 2ms};
}

// What all sinks of a test share: what they have delivered, and how sync() goes.
class Sinks {
 public:
  void hold_syncs() { held_.store(true); }
  void release_syncs() {
    const std::lock_guard lock(mutex_);
    held_.store(false);
    changed_.notify_all();
  }
  void fail_syncs(int times) { failing_.store(times); }
  std::function<Verdict::Kind(const Delivery&)> verdict = [](const Delivery&) { return Verdict::delivered; };

  [[nodiscard]] std::vector<std::string> delivered() {
    const std::lock_guard lock(mutex_);
    return delivered_;
  }
  [[nodiscard]] bool delivers(std::size_t events) {
    return eventually([&] { return delivered().size() == events; });
  }
  [[nodiscard]] int in_sync() const { return in_sync_.load(); }  // at the moment
  [[nodiscard]] int syncs() const { return syncs_.load(); }      // that are over

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      verdicts[i] = verdict(batch[i]);
      if (verdicts[i].kind() == Verdict::delivered) delivered_.emplace_back(batch[i].text());
    }
  }
  void sync() {
    ++in_sync_;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !held_.load(); });
    }
    --in_sync_;
    ++syncs_;
    if (failing_.load() > 0 && failing_.fetch_sub(1) > 0) throw std::runtime_error("no such luck");
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> delivered_;  // guarded by mutex_
  std::atomic<bool> held_{false};
  std::atomic<int> in_sync_{0}, syncs_{0}, failing_{0};
};

class SharedSink final : public Sink {
 public:
  explicit SharedSink(std::shared_ptr<Sinks> sinks) : sinks_(std::move(sinks)) {}
  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) override {
    sinks_->deliver(batch, verdicts);
  }
  void sync() override { sinks_->sync(); }

 private:
  const std::shared_ptr<Sinks> sinks_;  // owners: the test, and each worker's sink
};

struct Log {
  std::mutex mutex;
  std::vector<std::string> lines;  // guarded by mutex
  [[nodiscard]] std::size_t count(std::string_view words) {
    const std::lock_guard lock(mutex);
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [&](const std::string& line) { return line.find(words) != std::string::npos; }));
  }
};

// A verdict that the test lets the sink wait for.
class HeldVerdict {
 public:
  [[nodiscard]] bool asked() const { return asked_.load(); }
  void open() {
    open_.store(true);
    open_.notify_all();
  }
  Verdict::Kind give() {
    asked_.store(true);
    open_.wait(false);
    return Verdict::delivered;
  }

 private:
  std::atomic<bool> asked_{false}, open_{false};
};

// A tracker of one worker on that disk.
struct House {
  House(const MemoryDisk& on, Ack ack, const Pace& at, std::shared_ptr<Sinks> with = std::make_shared<Sinks>(),
        std::size_t batch_events = 512)
      : sinks(std::move(with)), disk(on.same()) {
    Options options;
    options.ack = ack;
    options.workers = 1;
    options.journal_bytes = 2 * kLimit;
    options.queue_bytes = kLimit / 4;
    options.queue_events = 1024;
    options.batch_events = batch_events;
    options.retry_min = options.retry_max = 1ms;
    options.log = [log = log](LogLevel, std::string_view line) {
      const std::lock_guard lock(log->mutex);
      log->lines.emplace_back(line);
    };
    tracker = TrackerOnDisk::make(
        options, [sinks = sinks](const SinkContext&) { return std::make_unique<SharedSink>(sinks); }, disk, at);
  }

  void take(std::string_view text) const { REQUIRE(tracker->track(Event(text)) == Admit::accepted); }

  const std::shared_ptr<Sinks> sinks;
  const std::shared_ptr<Log> log = std::make_shared<Log>();
  const std::shared_ptr<MemoryDisk> disk;
  std::unique_ptr<Tracker> tracker;
};

bool anything_settled(const MemoryDisk& disk) {
  std::string settled = disk.bytes(settled_name(1));
  settled.erase(0, journal::kHeaderCopySize);
  return std::ranges::any_of(settled, [](char byte) { return byte != 0; });
}

// What the journal holds for the next life, once the world of this one has ended.
std::vector<std::string> left_by(MemoryDisk& disk) {
  disk.cut();
  const auto next = disk.reboot();
  House house(*next, Ack::written, pace(1ms));
  CHECK(eventually([&] { return house.tracker->books().kept == 0; }));
  static_cast<void>(house.tracker->shutdown(10s));
  auto left = house.sinks->delivered();
  std::ranges::sort(left);
  return left;
}

}  // namespace

TEST_SUITE("durable settles") {
  TEST_CASE("durable settles: a settle mark is not even written before its sink was synced") {
    MemoryDisk disk(1);
    House house(disk, Ack::written, pace(3ms));
    house.sinks->hold_syncs();
    house.take("a");
    REQUIRE(house.sinks->delivers(1));
    REQUIRE(eventually([&] { return house.sinks->in_sync() == 1; }));
    // A commit from here on is synced in a turn of the committer in which settles of "a" would have been due.
    house.take("b");
    const std::uint64_t syncs = disk.calls(Call::sync);
    house.take("c");
    REQUIRE(eventually([&] { return disk.calls(Call::sync) > syncs; }));
    CHECK_FALSE(anything_settled(disk));
    house.sinks->release_syncs();
    CHECK(eventually([&] { return anything_settled(disk); }));
    CHECK(house.tracker->shutdown(10s).reason == Reason::drained);
    CHECK(left_by(disk).empty());
  }

  TEST_CASE("durable settles: under synced and queued a sink is not asked to sync, and settles do not wait") {
    for (const Ack ack : {Ack::synced, Ack::queued}) {
      CAPTURE(static_cast<int>(ack));
      MemoryDisk disk(1);
      House house(disk, ack, pace(3ms));
      house.take("a");
      REQUIRE(house.sinks->delivers(1));
      if (ack == Ack::synced) CHECK(eventually([&] { return anything_settled(disk); }));
      static_cast<void>(house.tracker->shutdown(10s));
      CHECK(house.sinks->syncs() == 0);
    }
  }

  TEST_CASE("durable settles: a worker with nothing to do wakes to sync what it delivered") {
    MemoryDisk disk(1);
    House house(disk, Ack::written, pace(20ms));
    house.take("a");
    CHECK(eventually([&] { return house.sinks->syncs() == 1; }));
    // And no more often than there is something.
    house.take("b");
    CHECK(eventually([&] { return house.sinks->syncs() == 2; }));
    CHECK(house.tracker->shutdown(10s).reason == Reason::drained);
    CHECK(house.sinks->syncs() == 2);
  }

  TEST_CASE("durable settles: a worker that is never idle syncs as well") {
    MemoryDisk disk(1);
    const auto sinks = std::make_shared<Sinks>();
    std::atomic<bool> go{false};
    std::atomic<int> seen{0};
    sinks->verdict = [&](const Delivery& event) {
      while (!go) std::this_thread::yield();
      // Every event takes as long as settles take to be due; the last one looks whether there was a sync before it.
      for (const auto until = Clock::now() + 2ms; Clock::now() < until;) std::this_thread::yield();
      if (event.text() == "last") seen = sinks->syncs();
      return Verdict::delivered;
    };
    House house(disk, Ack::written, pace(2ms), sinks, 1);
    for (int i = 0; i < 20; ++i) house.take("x");
    house.take("last");
    go = true;
    REQUIRE(sinks->delivers(21));
    CHECK(seen > 0);
    CHECK(house.tracker->shutdown(10s).reason == Reason::drained);
  }

  TEST_CASE("durable settles: an event that its sink never takes does not hold up the sync of others") {
    MemoryDisk disk(1);
    const auto sinks = std::make_shared<Sinks>();
    sinks->verdict = [](const Delivery& event) {
      return event.text() == "bad" ? Verdict::try_again : Verdict::delivered;
    };
    House house(disk, Ack::written, pace(20ms), sinks);
    house.take("bad");
    house.take("good");
    CHECK(eventually([&] { return sinks->syncs() == 1; }));
    static_cast<void>(house.tracker->shutdown(0s));
    CHECK(left_by(disk) == std::vector<std::string>{"bad"});
  }

  TEST_CASE("durable settles: a worker syncs its sink before it ends, and what it delivered is settled for good") {
    MemoryDisk disk(1);
    House house(disk, Ack::written, pace(kNever));
    house.take("a");
    REQUIRE(house.sinks->delivers(1));
    CHECK(house.sinks->syncs() == 0);
    CHECK(house.tracker->shutdown(10s).reason == Reason::drained);
    CHECK(house.sinks->syncs() == 1);
    CHECK(left_by(disk).empty());
  }

  TEST_CASE("durable settles: what a sync that failed was for comes again in the next life, and nothing else does") {
    MemoryDisk disk(1);
    House house(disk, Ack::written, pace(1ms));
    house.sinks->fail_syncs(2);
    house.take("a");
    REQUIRE(eventually([&] { return house.sinks->syncs() == 1; }));
    house.take("b");
    REQUIRE(eventually([&] { return house.sinks->syncs() == 2; }));
    house.take("c");
    REQUIRE(eventually([&] { return house.sinks->syncs() == 3; }));
    CHECK(house.tracker->shutdown(10s).reason == Reason::drained);
    CHECK(house.sinks->delivered() == std::vector<std::string>{"a", "b", "c"});
    CHECK(house.log->count("sink could not be synced") == 1);
    CHECK(left_by(disk) == std::vector<std::string>{"a", "b"});
  }

  TEST_CASE("durable settles: a sink that hangs in its sync is named and left behind, and the stop is in time") {
    MemoryDisk disk(1);
    House house(disk, Ack::written, pace(kNever));
    house.sinks->hold_syncs();
    house.take("a");
    REQUIRE(house.sinks->delivers(1));
    const auto began = Clock::now();
    const Report report = house.tracker->shutdown(300ms);
    CHECK(Clock::now() - began < 400ms);
    CHECK(report.reason == Reason::deadline);
    REQUIRE(report.held_up_by.size() == 1);
    CHECK(report.held_up_by.front().state == WorkerState::in_sink);
    CHECK(house.log->count("the stop is held up worker=0 sink=sink") == 1);
    CHECK_FALSE(report.disk_failed);
    CHECK(left_by(disk) == std::vector<std::string>{"a"});
    house.sinks->release_syncs();
  }

  TEST_CASE("durable settles: what a worker delivered before it was left behind is synced all the same") {
    MemoryDisk disk(1);
    const auto sinks = std::make_shared<Sinks>();
    const auto gate = std::make_shared<HeldVerdict>();
    sinks->verdict = [gate](const Delivery& event) { return event.text() == "b" ? gate->give() : Verdict::delivered; };
    House house(disk, Ack::written, pace(kNever), sinks, 1);
    house.take("a");
    REQUIRE(house.sinks->delivers(1));
    house.take("b");
    REQUIRE(eventually([&] { return gate->asked(); }));
    CHECK(house.tracker->shutdown(100ms).reason == Reason::deadline);
    CHECK(house.sinks->syncs() == 0);
    gate->open();
    CHECK(eventually([&] { return house.sinks->syncs() == 1; }));
  }

  TEST_CASE("durable settles: a hurried stop does not wait for a sync until its first deadline") {
    MemoryDisk disk(1);
    House house(disk, Ack::written, pace(kNever));
    house.sinks->hold_syncs();
    house.take("a");
    REQUIRE(house.sinks->delivers(1));
    Report report;
    std::jthread stopping([&] { report = house.tracker->shutdown(60s); });
    REQUIRE(eventually([&] { return house.sinks->in_sync() == 1; }));
    const auto began = Clock::now();
    Host(*house.tracker).hasten(began);
    stopping.join();
    CHECK(Clock::now() - began < 1s);
    CHECK(report.reason == Reason::signal);
    house.sinks->release_syncs();
  }

  TEST_CASE("queue: a worker that has waited until its time leaves no ring behind") {
    BlockMemory memory{std::size_t{1} << 20U};
    Admission door(1024, std::size_t{1} << 20U);
    EventQueue queue({}, 1, 1);
    const auto soon = [] { return Clock::now() + 20ms; };
    queue.wait(soon());
    const std::vector<Event> one(1, Event("x"));
    Block::Owner block = block_of(memory, door, one, {});
    EventId first;
    REQUIRE(queue.push(block, first) == EventQueue::Push::done);
    Slice slice{};
    REQUIRE(queue.try_pop({&slice, 1}) == 1);
    slice.block->release(slice.count);
    const auto until = soon();
    queue.wait(until);
    CHECK(Clock::now() >= until);
  }
}
