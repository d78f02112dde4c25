// What lies between the journal's threads, and at the end of a run: each test is an event, or an answer, that was once
// lost, doubled or miscounted there. Over the disk in memory; the instants at which threads meet are made, not waited
// for.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backlog/committer.h"
#include "backlog/feeder.h"
#include "backlog/unrecorded.h"
#include "journal/pace.h"
#include "journal_support.h"
#include "model/tracker_on_disk.h"
#include "sluice/host.h"

using namespace journal_support;

namespace {

// A stop without time of its own that still gets the disk to do what it can, however slow the machine is.
constexpr Pace kPatientAtTheEnd{.checkpoint = std::chrono::seconds{30}};

bool is_settled(std::string_view name) {
  const auto parsed = parse_name(name);
  return parsed && parsed->what == FileName::What::settled;
}

// What stands on disk behind the queue, but for the tracker; its threads begin when a test says so.
struct Rooms {
  explicit Rooms(MemoryDisk& disk, const Pace& pace = {})
      : journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}}),
        feeder(journal, queue, hall.door, hall.memory, {}, {.lost = [](std::uint64_t) {}, .log = {}}),
        committer(
            journal, feeder, queue, unrecorded, {.run = {}, .pace = pace},
            {.accepted = [](std::uint64_t) {}, .took = {}, .turned = {}, .log = [](LogLevel, std::string_view) {}}) {}

  // A request of one event on its way to a commit.
  Committer::Request request(Committer::Told told) {
    Block::Owner block = hall.block();
    const std::uint64_t cost = Journal::cost(block->body().size(), 1);
    REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
    feeder.expect_commit(1);
    return {.block = std::move(block), .reserved = cost, .told = std::move(told)};
  }
  Feeder::Straight try_straight() {
    EventId first;
    Block::Owner block = hall.block();
    return feeder.try_straight(block, unrecorded, first);
  }

  Hall hall;
  Unrecorded unrecorded;
  EventQueue queue{{}, 1, 1};
  Journal journal;
  Feeder feeder;
  Committer committer;
};

// A tracker whose sinks do what the test says with each event, and what they have delivered.
class Engine {
 public:
  using Verdicts = std::function<Verdict::Kind(const Delivery&)>;

  Engine(const MemoryDisk& disk, Options options, Verdicts verdicts, const Pace& pace = {}) : disk_(disk.same()) {
    options.workers = 1;
    options.journal_bytes = 2 * kLimit;
    options.queue_bytes = kLimit / 4;
    options.queue_events = std::min<std::size_t>(options.queue_events, 1024);
    options.retry_min = options.retry_max = 1ms;
    options.log = [](LogLevel, std::string_view) {};
    auto sink = [seen = seen_, verdicts = std::move(verdicts)](const SinkContext&) {
      return std::make_unique<TestSink>(seen, verdicts);
    };
    tracker_ = TrackerOnDisk::make(options, std::move(sink), disk_, pace);
  }
  Tracker* operator->() { return tracker_.get(); }
  Tracker& operator*() { return *tracker_; }

  [[nodiscard]] std::vector<std::string> delivered() const {
    const std::lock_guard lock(seen_->mutex);
    return seen_->payloads;
  }
  [[nodiscard]] bool delivers(std::size_t events) const {
    return eventually([&] { return delivered().size() == events; });
  }
  [[nodiscard]] bool has_asked(std::size_t events) const {
    return eventually([&] { return seen_->asked.load() >= events; });
  }

 private:
  struct Seen {
    std::mutex mutex;
    std::vector<std::string> payloads;  // guarded by mutex
    std::atomic<std::size_t> asked{0};  // events that a sink was shown, again and again
  };
  class TestSink final : public Sink {
   public:
    TestSink(std::shared_ptr<Seen> seen, Verdicts verdicts) : seen_(std::move(seen)), verdicts_(std::move(verdicts)) {}
    void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) override {
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const Verdict::Kind verdict = verdicts_(batch[i]);
        verdicts[i] = verdict;
        ++seen_->asked;
        if (verdict != Verdict::delivered) continue;
        const std::lock_guard lock(seen_->mutex);
        seen_->payloads.emplace_back(batch[i].text());
      }
    }

   private:
    const std::shared_ptr<Seen> seen_;  // owners: the engine, and each worker's sink
    const Verdicts verdicts_;
  };

  std::shared_ptr<MemoryDisk> disk_;
  std::shared_ptr<Seen> seen_ = std::make_shared<Seen>();
  std::unique_ptr<Tracker> tracker_;
};

Verdict::Kind deliver(const Delivery&) { return Verdict::delivered; }
Verdict::Kind not_yet(const Delivery&) { return Verdict::try_again; }

}  // namespace

TEST_SUITE("journal") {
  TEST_CASE("journal: a request that is handed over behind the end is answered, and its room comes back") {
    MemoryDisk disk(1);
    Rooms rooms(disk);
    rooms.committer.run(nullptr);
    REQUIRE(rooms.committer.stop(Clock::now() + 10s));

    std::optional<bool> answer;
    rooms.committer.submit(rooms.request([&](bool committed, const EventId&, const EventId&) { answer = committed; }));
    REQUIRE(answer.has_value());
    CHECK_FALSE(*answer);
    CHECK(rooms.journal.reserved() == 0);
    CHECK(rooms.hall.door.events_out() == 0);
  }

  TEST_CASE("journal: from the spill on nothing goes past the disk, and what does not is no unrecorded event") {
    MemoryDisk disk(1);
    Rooms rooms(disk);
    CHECK(rooms.try_straight() == Feeder::Straight::done);
    CHECK(rooms.unrecorded.events() == 1);
    rooms.feeder.end_straight();
    CHECK(rooms.try_straight() == Feeder::Straight::behind);
    CHECK(rooms.unrecorded.events() == 1);
    const std::vector<Block*> held = rooms.unrecorded.hold_all();
    CHECK(held.size() == 1);
    for (Block* const block : held) block->release(1);
  }

  TEST_CASE("journal: a committer that is at the disk when the spill is wanted, and stopped meanwhile, still spills") {
    MemoryDisk disk(1);
    std::binary_semaphore at_disk(0), go_on(0);
    std::atomic<bool> settling{true};  // not yet: the file is begun with a copy of the header
    disk.on_call([&](Call call, std::string_view name) {
      if (call != Call::write || !is_settled(name) || settling.exchange(true)) return;
      at_disk.release();
      go_on.acquire();
    });
    auto rooms = std::make_shared<Rooms>(disk, Pace{.settle_every = 1ms});
    settling.store(false);
    REQUIRE(rooms->try_straight() == Feeder::Straight::done);
    rooms->committer.submit(rooms->request([&](bool committed, const EventId&, const EventId& last) {
      const Settle one{1, last.sequence, 1};
      if (committed) rooms->committer.settle({&one, 1});
    }));
    rooms->committer.run(rooms);
    REQUIRE(at_disk.try_acquire_for(10s));
    rooms->committer.want_spill();
    CHECK_FALSE(rooms->committer.stop(Clock::now()));  // told to, and left behind
    go_on.release();
    CHECK(eventually([&] { return rooms->committer.checkpointed(); }));
    CHECK(rooms->unrecorded.events() == 0);
    const std::weak_ptr<Rooms> gone = std::exchange(rooms, nullptr);
    REQUIRE(eventually([&] { return gone.expired(); }));

    const auto next = killed(disk);
    Hall hall;
    Journal journal(*next, {.run = {}, .limit_bytes = kLimit, .log = {}});
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
  }

  TEST_CASE("journal: a block that is on its way out cannot be held, though a spill still finds it") {
    struct Finder final : BlockWatcher {
      void forget(Block& block) noexcept override { held = block.try_hold(); }
      bool held = true;
    } finder;
    Hall hall;
    Block::Owner block = hall.block(2);
    block->watch().by = &finder;
    block.release()->release(2);
    CHECK_FALSE(finder.held);
  }

  TEST_CASE("journal: events that a stop wrote down come before younger ones of the same run that were on disk") {
    Hall hall;
    MemoryDisk disk(1);
    {
      Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      journal.show(put_on_disk(journal, hall.block(), 7));
      const std::vector<Record> older(1, {.sequence = 3, .received = {}, .content_type = {}, .payload = {}});
      std::uint64_t segment = 0;
      REQUIRE(!journal.spill(older, segment));
      REQUIRE(!journal.close());
    }
    const auto next = killed(disk);
    Journal journal(*next, {.run = {}, .limit_bytes = kLimit, .log = {}});
    CHECK(rest_of(journal, hall.memory) == Sequences{3, 7});
  }

  TEST_CASE("journal: of a request that was half delivered a stop under queued keeps the other half, and counts it") {
    MemoryDisk disk(1);
    const std::vector<Event> four{Event("a"), Event("b"), Event("c"), Event("d")};
    {
      Engine engine(disk, {},
                    [](const Delivery& event) { return event.text() < "c" ? Verdict::delivered : Verdict::try_again; });
      REQUIRE(engine->track(four) == Admit::accepted);
      REQUIRE(engine.delivers(2));
      const Report report = engine->shutdown(0s);
      CHECK(report.books.kept == 2);
      CHECK(report.books.lost == 0);
    }
    const auto next = killed(disk);
    Engine engine(*next, {}, deliver);
    CHECK(engine->books().replayed == 2);
    CHECK(engine.delivers(2));
    CHECK(engine.delivered() == std::vector<std::string>{"c", "d"});
    CHECK(engine->shutdown(10s).books.balanced());
  }

  TEST_CASE("journal: what no disk took at a stop under queued is lost, also what was in workers' hands") {
    MemoryDisk disk(1);
    Options options;
    options.batch_events = 2;
    Engine engine(disk, options, not_yet);
    for (int requests = 0; requests < 2; ++requests) {
      REQUIRE(engine->track(std::vector<Event>{Event("a"), Event("b")}) == Admit::accepted);
    }
    REQUIRE(engine.has_asked(2));
    disk.fail({.call = Call::create, .error = std::errc::no_space_on_device, .lasts = true});
    const Report report = engine->shutdown(0s);
    CHECK(report.books.lost == 4);
    CHECK(report.books.kept == 0);
  }

  TEST_CASE(
      "journal: what the disk refused half way through a stop under queued is kept if it takes it before the end") {
    MemoryDisk disk(1);
    {
      Engine engine(disk, {}, not_yet);
      REQUIRE(engine->track(Event("a")) == Admit::accepted);
      REQUIRE(engine.has_asked(1));
      disk.fail({.call = Call::create, .error = std::errc::no_space_on_device});
      const Report report = engine->shutdown(2s);
      CHECK(report.books.kept == 1);
      CHECK(report.books.lost == 0);
    }
    const auto next = killed(disk);
    Engine engine(*next, {}, deliver);
    CHECK(engine.delivers(1));
  }

  TEST_CASE("journal: a stop keeps what waits on disk though somebody has removed the directory") {
    for (const Ack ack : {Ack::queued, Ack::written, Ack::synced}) {
      CAPTURE(static_cast<int>(ack));
      MemoryDisk disk(1);
      Options options;
      options.ack = ack;
      {
        Engine engine(disk, options, not_yet, kPatientAtTheEnd);
        REQUIRE(engine->track(Event("a")) == Admit::accepted);
        disk.remove_directory();
        const Report report = engine->shutdown(0s);
        CHECK(report.books.kept == 1);
        CHECK_FALSE(report.disk_failed);
      }
      const auto next = killed(disk);
      Engine engine(*next, options, deliver);
      CHECK(engine.delivers(1));
    }
  }

  TEST_CASE("journal: a file of the backlog that somebody removes is written anew, while it runs and at the stop") {
    constexpr std::size_t kEvents = 200;
    const std::string payload(4000, 'x');
    const auto sealed = [](const MemoryDisk& disk) {
      const auto names = disk.names();
      std::vector<std::string> segments;
      std::ranges::copy_if(names, std::back_inserter(segments), is_segment);
      segments.pop_back();  // is written to
      return segments;
    };
    for (const bool at_the_stop : {false, true}) {
      CAPTURE(at_the_stop);
      MemoryDisk disk(1);
      Options options;
      options.ack = Ack::synced;
      options.overflow = Overflow::disk;
      Pace pace = kPatientAtTheEnd;
      pace.sync_every = at_the_stop ? 1h : 5ms;
      std::uint64_t kept = 0;
      {
        Engine engine(disk, options, not_yet, pace);
        for (std::size_t i = 0; i < kEvents; ++i) REQUIRE(engine->track(Event(payload)) == Admit::accepted);
        REQUIRE(sealed(disk).size() > 1);
        const std::string victim = sealed(disk).front();
        const std::uint64_t copies = disk.passed(Instant::after_create);
        disk.remove_file(victim);
        if (!at_the_stop) CHECK(eventually([&] { return disk.passed(Instant::after_create) > copies; }));
        const Report report = engine->shutdown(0s);
        CHECK(report.books.balanced());
        CHECK(report.books.lost == 0);
        kept = report.books.kept;
        CHECK(kept == kEvents);
      }
      const auto next = killed(disk);
      Engine engine(*next, options, deliver);
      CHECK(engine.delivers(kEvents));
      CHECK(engine->books().replayed == kept);
    }
  }

  TEST_CASE("journal: what stands in files that are gone, and can be written nowhere, is lost, not kept") {
    for (const Ack ack : {Ack::queued, Ack::written, Ack::synced}) {
      CAPTURE(static_cast<int>(ack));
      MemoryDisk disk(1);
      Options options;
      options.ack = ack;
      Engine engine(disk, options, not_yet, kPatientAtTheEnd);
      for (int i = 0; i < 30; ++i) REQUIRE(engine->track(Event("a")) == Admit::accepted);
      disk.remove_directory();
      disk.fail({.call = Call::hold, .lasts = true});
      const Report report = engine->shutdown(0s);
      CHECK(report.books.lost == 30);
      CHECK(report.books.kept == 0);
      CHECK(report.books.balanced());
      CHECK(report.disk_failed);
    }
  }

  TEST_CASE("journal: an idle journal whose files somebody has removed is seen to be gone, and made anew") {
    MemoryDisk disk(1);
    Pace pace;
    pace.sync_every = 5ms;
    Engine engine(disk, {}, deliver, pace);
    disk.fail({.call = Call::hold, .lasts = true});
    disk.remove_directory();
    CHECK(eventually([&] { return Host(*engine).disk_failed(); }));
    disk.heal();
    CHECK(eventually([&] { return !Host(*engine).disk_failed(); }));
    CHECK(engine->track(Event("a")) == Admit::accepted);
    CHECK(engine->shutdown(10s).books.delivered == 1);
  }

  TEST_CASE(
      "journal: while settles are being synced, requests are committed and answered, and a stop waits for the sync") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::synced;
    Pace pace;
    pace.sync_every = 5ms;
    pace.checkpoint = 10s;
    std::atomic<bool> holds{true};
    std::binary_semaphore at_disk(0), go_on(0);
    disk.on_call([&](Call call, std::string_view name) {
      if (call != Call::sync || !is_settled(name) || disk.passed(Instant::after_sync) == 0) return;
      if (!holds.exchange(false)) return;
      at_disk.release();
      go_on.acquire();
    });
    {
      Engine engine(disk, options, deliver, pace);
      REQUIRE(engine->track(Event("settled")) == Admit::accepted);
      REQUIRE(at_disk.try_acquire_for(10s));
      std::atomic<int> answered{0};
      const std::vector<Event> behind(1, Event("behind"));
      const Receipt count = [&](const Outcome& outcome) { answered += outcome.answer == Admit::accepted ? 1 : 0; };
      for (int i = 0; i < 3; ++i) CHECK(engine->track(behind, count).pending());
      CHECK(eventually([&] { return answered.load() == 3; }));
      go_on.release();
      const Report report = engine->shutdown(10s);
      CHECK(report.books.delivered == 4);
      CHECK_FALSE(report.disk_failed);
    }
    disk.cut();
    const auto next = disk.reboot();
    Engine engine(*next, options, deliver);
    CHECK(engine->books().replayed == 0);
  }

  TEST_CASE("journal: a disk that does not answer a sync of settles holds no stop behind its deadline, and is named") {
    // Shared with threads that outlive the tracker.
    struct Held {
      std::atomic<bool> next{false};
      std::binary_semaphore at_disk{0}, go_on{0};
    };
    const auto held = std::make_shared<Held>();
    MemoryDisk disk(1);
    disk.on_call([held](Call call, std::string_view name) {
      if (call != Call::sync || !is_settled(name) || !held->next.exchange(false)) return;
      held->at_disk.release();
      held->go_on.acquire();
    });
    Options options;
    options.ack = Ack::synced;
    Pace pace;
    pace.sync_every = 5ms;
    {
      Engine engine(disk, options, deliver, pace);
      held->next = true;
      REQUIRE(engine->track(Event("settled")) == Admit::accepted);
      REQUIRE(held->at_disk.try_acquire_for(10s));
      const auto began = Clock::now();
      const Report report = engine->shutdown(200ms);
      CHECK(Clock::now() - began < 2s);
      CHECK(report.disk_stuck);
      CHECK(report.books.delivered == 1);
      CHECK(report.books.balanced());
    }
    const std::uint64_t syncs = disk.calls(Call::sync);
    held->go_on.release();
    CHECK(eventually([&] { return disk.calls(Call::sync) > syncs; }));  // the committer ends as ever, with a checkpoint
  }

  TEST_CASE("journal: a sync of settles that fails is made good before the stop says that they are on disk") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {  // what a failed sync loses is up to chance
      CAPTURE(seed);
      MemoryDisk disk(seed);
      Options options;
      options.ack = Ack::synced;
      Pace pace;
      pace.sync_every = 5ms;
      pace.checkpoint = 10s;
      const auto all_but_held = [](const Delivery& event) {
        return event.text() == "held" ? Verdict::try_again : Verdict::delivered;
      };
      {
        Engine engine(disk, options, all_but_held, pace);
        disk.fail({.call = Call::sync, .where = is_settled});
        REQUIRE(engine->track(Event("held")) == Admit::accepted);
        REQUIRE(engine->track(Event("a")) == Admit::accepted);
        REQUIRE(engine.delivers(1));
        REQUIRE(eventually([&] { return disk.failed_syncs(is_settled) == 1; }));
        CHECK_FALSE(engine->shutdown(0s).disk_failed);
      }
      disk.cut();
      const auto next = disk.reboot();
      Engine engine(*next, options, not_yet);
      CHECK(engine->books().replayed == 1);
    }
  }

  TEST_CASE("journal: a sync that fails once, at the very end, takes nothing with it") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::written;
    {
      Engine engine(disk, options, not_yet, kPatientAtTheEnd);
      REQUIRE(engine->track(Event("a")) == Admit::accepted);
      disk.fail({.call = Call::sync, .where = is_segment});
      const Report report = engine->shutdown(0s);
      CHECK(report.books.kept == 1);
      CHECK_FALSE(report.disk_failed);
    }
    disk.cut();
    const auto next = disk.reboot();
    Engine engine(*next, options, deliver);
    CHECK(engine.delivers(1));
  }

  TEST_CASE("journal: a stop that could not settle what is delivered says that the disk failed") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::synced;
    Engine engine(disk, options, deliver);
    disk.fail({.call = Call::write, .lasts = true, .where = is_settled});
    disk.fail({.call = Call::create, .lasts = true});
    REQUIRE(engine->track(Event("a")) == Admit::accepted);
    const Report report = engine->shutdown(10s);
    CHECK(report.books.delivered == 1);
    CHECK(report.disk_failed);
    CHECK(report.reason == Reason::fault);
  }

  TEST_CASE(
      "journal: requests that wait for the disk leave the feeder its part of memory, and a backlog is delivered") {
    constexpr std::size_t kEvents = 300;  // of 4000 bytes, several times what memory holds
    const std::string payload(4000, 'x');
    const std::vector<Event> one(1, Event(payload));
    for (const Overflow overflow : {Overflow::disk, Overflow::reject}) {
      CAPTURE(static_cast<int>(overflow));
      MemoryDisk disk(1);
      Options options;
      options.ack = Ack::synced;
      options.overflow = Overflow::disk;
      {
        Engine engine(disk, options, not_yet);
        for (std::size_t i = 0; i < kEvents; ++i) REQUIRE(engine->track(one) == Admit::accepted);
        CHECK(engine->shutdown(0s).books.kept == kEvents);
      }
      const auto next = killed(disk);
      std::atomic<bool> hangs{false}, delivers{false};
      std::binary_semaphore at_disk(0), go_on(0);
      next->on_call([&](Call call, std::string_view name) {
        if (call != Call::sync || !is_segment(name) || !hangs.exchange(false)) return;
        at_disk.release();
        go_on.acquire();
      });
      options.overflow = overflow;
      Engine engine(*next, options, [&](const Delivery&) {
        while (!delivers) std::this_thread::sleep_for(100us);  // a sink that hangs, not a test that waits
        return Verdict::delivered;
      });
      std::size_t passing = 0;
      const auto fill = [&] {
        while (engine->track(one, [](const Outcome&) {}).pending()) ++passing;
      };
      hangs = true;
      fill();
      REQUIRE(at_disk.try_acquire_for(10s));
      fill();
      delivers = true;
      CHECK(eventually([&] {
        fill();
        return engine.delivered().size() == kEvents;
      }));
      CHECK(passing >= 10);
      go_on.release();
      CHECK(engine.delivers(kEvents + passing));
      CHECK(engine->shutdown(10s).books.balanced());
    }
  }

  TEST_CASE("journal: what is written and not synced never fills the passage: much of it is synced before its time") {
    constexpr std::size_t kEvents = 2000;  // a few bytes each, and several times what memory holds of them
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::written;
    options.overflow = Overflow::disk;
    options.queue_events = 1;
    Engine engine(disk, options, not_yet, {.sync_every = 1h});
    const std::vector<Event> one(1, Event("x"));
    for (std::size_t i = 0; i < kEvents; ++i) REQUIRE(engine->wait_track(one, Clock::now() + 10s) == Admit::accepted);
    CHECK(engine->shutdown(0s).books.kept == kEvents);
  }

  TEST_CASE("journal: who waits for room is refused once, however often he looked") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::synced;
    options.queue_events = 1;
    Engine engine(disk, options, not_yet);
    const std::vector<Event> one(1, Event("x"));
    REQUIRE(engine->track(one) == Admit::accepted);
    CHECK(engine->wait_track(one, Clock::now() + 50ms) == Admit::full);
    CHECK(engine->status().refused_full == 1);
    static_cast<void>(engine->shutdown(0s));
  }

  TEST_CASE("journal: who waits for room is not woken while there is none, and gets it when there is") {
    for (const bool is_window : {true, false}) {
      CAPTURE(is_window);
      MemoryDisk disk(1);
      Options options;
      options.ack = Ack::synced;
      options.queue_events = is_window ? 1 : 1024;
      options.overflow = is_window ? Overflow::reject : Overflow::disk;
      std::atomic<bool> delivers{false};
      Engine engine(disk, options,
                    [&](const Delivery&) { return delivers.load() ? Verdict::delivered : Verdict::try_again; });
      const std::string large(is_window ? 1 : 60000, 'x');
      const std::vector<Event> one(1, Event(large));
      Admit answer = Admit::accepted;
      for (int i = 0; i < 1000 && answer == Admit::accepted; ++i) answer = engine->track(one);
      REQUIRE(answer == Admit::full);

      const auto waits = [] {
        rusage usage{};
        REQUIRE(::getrusage(RUSAGE_THREAD, &usage) == 0);
        return usage.ru_nvcsw;
      };
      const auto before = waits();
      CHECK(engine->wait_track(one, Clock::now() + 1s) == Admit::full);
      CHECK(waits() - before < 100);  // the committer turns five times in it, and the one event is tried again

      std::atomic<int> got{-1};
      std::jthread waiter([&] { got = static_cast<int>(engine->wait_track(one, Clock::now() + 1h)); });
      delivers = true;
      CHECK(eventually([&] { return got.load() == static_cast<int>(Admit::accepted); }));
      static_cast<void>(engine->shutdown(10s));
    }
  }

  TEST_CASE("journal: who waits for room of the disk is told when the door closes") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::synced;
    Engine engine(disk, options, not_yet);
    const std::string large(60000, 'x');
    const std::vector<Event> one(1, Event(large));
    Admit answer = Admit::accepted;
    for (int i = 0; i < 1000 && answer == Admit::accepted; ++i) answer = engine->track(one);
    REQUIRE(answer == Admit::full);
    std::atomic<int> got{-1};
    std::jthread waiter([&] { got = static_cast<int>(engine->wait_track(one, Clock::now() + 1h)); });
    static_cast<void>(engine->shutdown(0s));
    CHECK(eventually([&] { return got.load() == static_cast<int>(Admit::closed); }));
  }
}
