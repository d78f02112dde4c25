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
#include <variant>
#include <vector>

#include "engine/tracker_on_disk.h"
#include "journal/committer.h"
#include "journal/feeder.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "journal/pace.h"
#include "journal/unrecorded.h"
#include "model/memory_disk.h"

using namespace sluice;
using namespace sluice::journal;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using model::Call;
using model::MemoryDisk;
using Sequences = std::vector<std::uint64_t>;

namespace {

constexpr std::uint64_t kLimit = std::uint64_t{1} << 20U;

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

bool is_segment(std::string_view name) {
  const auto parsed = parse_name(name);
  return parsed && parsed->what == FileName::What::segment;
}
bool is_settled(std::string_view name) {
  const auto parsed = parse_name(name);
  return parsed && parsed->what == FileName::What::settled;
}

// A block of these events, as the way in would make it.
Block::Owner block_of(BlockMemory& memory, Admission& door, std::span<const Event> events,
                      const Block::Layout& layout) {
  auto ticket = door.try_admit(events.size(), Block::bytes_for(events, layout));
  return Block::make(memory, events, std::get<Ticket>(std::move(ticket)), layout);
}

// The room of those who are not what a test is about.
struct Hall {
  Admission door{1024, std::size_t{1} << 20U};
  BlockMemory memory{std::size_t{1} << 20U};
  Block::Owner block(std::size_t events = 1) {
    const std::vector<Event> some(events, event_of("x"));
    return block_of(memory, door, some, {.frame = kEventFrame, .watched = true});
  }
};

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

// Commits them, synced. The error is the disk's.
std::error_code commit(Journal& journal, std::span<const Block::Owner> blocks, std::uint64_t first,
                       Journal::Place& place) {
  std::vector<Block*> raw;
  std::uint64_t reserved = 0;
  for (const Block::Owner& block : blocks) {
    const std::uint64_t cost = Journal::cost(block->body().size(), block->count());
    REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
    reserved += cost;
    block->number({}, first);
    first += block->count();
    raw.push_back(block.get());
  }
  return journal.commit(raw, reserved, true, place);
}

// The same for one block, which must succeed.
Journal::Place put_on_disk(Journal& journal, const Block::Owner& block, std::uint64_t first) {
  Journal::Place place;
  REQUIRE(!commit(journal, {&block, 1}, first, place));
  return place;
}

// What the feeder would bring from here on.
Sequences rest_of(Journal& journal, BlockMemory& memory) {
  Sequences all;
  Journal::Backlog backlog;
  for (;;) {
    journal.read_backlog(1, 4096, memory, backlog);
    if (backlog.events.empty()) return all;
    all.push_back(backlog.events.front().sequence);
    journal.fed_backlog(backlog);
  }
}

// A tracker whose sinks do what the test says with each event, and what they have delivered.
class Engine {
 public:
  using Verdicts = std::function<Verdict::Kind(const Delivery&)>;

  Engine(const MemoryDisk& disk, Options options, Verdicts verdicts) : disk_(disk.same()) {
    options.workers = 1;
    options.journal_bytes = 2 * kLimit;
    options.queue_bytes = kLimit / 4;
    options.queue_events = std::min<std::size_t>(options.queue_events, 1024);
    options.retry_min = options.retry_max = 1ms;
    options.log = [](LogLevel, std::string_view) {};
    auto sink = [seen = seen_, verdicts = std::move(verdicts)] { return std::make_unique<TestSink>(seen, verdicts); };
    tracker_ = TrackerOnDisk::make(options, std::move(sink), disk_, {});
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

std::unique_ptr<MemoryDisk> killed(MemoryDisk& disk) {
  disk.kill();
  return disk.reboot();
}

}  // namespace

TEST_SUITE("journal") {
  TEST_CASE("journal: what is committed cannot be read as backlog before it is decided who feeds it") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    const Journal::Place place = put_on_disk(journal, hall.block(), 1);
    CHECK(rest_of(journal, hall.memory).empty());
    REQUIRE(journal.cursor_at(place.segment, place.begin));
    journal.show(place);
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
  }

  TEST_CASE("journal: what is fed while its segment is copied out of a removed directory is fed once") {
    Hall hall;
    MemoryDisk disk(1);
    std::function<void()> at_copying;
    disk.on_call([&](Call call, std::string_view name) {
      if (call == Call::create && is_draft(name) && at_copying) std::exchange(at_copying, nullptr)();
    });
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    journal.show(put_on_disk(journal, hall.block(3), 1));
    Journal::Backlog backlog;
    journal.read_backlog(2, 4096, hall.memory, backlog);
    REQUIRE(backlog.events.size() == 2);

    disk.remove_directory();
    std::vector<Block::Owner> one(1);
    one[0] = hall.block();
    Journal::Place place;
    REQUIRE(commit(journal, one, 4, place));
    at_copying = [&] { journal.fed_backlog(backlog); };
    REQUIRE(!journal.recover({}));
    REQUIRE(!at_copying);
    CHECK(rest_of(journal, hall.memory) == Sequences{3});
  }

  TEST_CASE("journal: what the disk would not give once is read as soon as it does") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    journal.show(put_on_disk(journal, hall.block(), 1));
    disk.fail({.call = Call::read, .where = is_segment});
    Journal::Backlog backlog;
    journal.read_backlog(1, 4096, hall.memory, backlog);
    REQUIRE(backlog.error);
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
  }

  TEST_CASE("journal: while copies that could not be made have a name nothing is settled for good, and nothing goes") {
    Hall hall;
    MemoryDisk disk(1);
    std::string original;
    std::string copies;
    {
      Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      const Block::Owner block = hall.block(2);
      const Journal::Place place = put_on_disk(journal, block, 1);
      journal.show(place);
      block->settle_in(place.segment);
      original = segment_name(place.segment);
      copies = segment_name(place.segment + 1);
      REQUIRE(rest_of(journal, hall.memory) == Sequences{1, 2});

      disk.fail({.call = Call::sync, .where = is_segment});
      std::vector<Block::Owner> next(1);
      next[0] = hall.block();
      Journal::Place nowhere;
      REQUIRE(commit(journal, next, 3, nowhere));
      disk.fail({.call = Call::sync_directory, .nth = 2});  // the first is for the draft
      disk.fail({.call = Call::unlink, .lasts = true, .where = [&](std::string_view name) { return name == copies; }});
      Block* const unsynced = block.get();
      REQUIRE(journal.recover({&unsynced, 1}));
      REQUIRE(disk.bytes_if_there(copies));

      journal.settle(place.segment, 1, 1);
      CHECK(journal.sync_settles());
      REQUIRE(!journal.recover({}));
      journal.settle(place.segment, 2, 1);
      journal.maintain();
      CHECK(disk.bytes_if_there(original));

      disk.heal();
      CHECK(!journal.sync_settles());
      CHECK(!disk.bytes_if_there(copies));
    }
    Journal journal(disk, {.run = {{1}}, .limit_bytes = kLimit, .log = {}});
    CHECK(journal.replayed() == 0);
  }

  TEST_CASE("journal: settles that went to a removed file are not said to be on disk") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    const Journal::Place place = put_on_disk(journal, hall.block(2), 1);
    journal.show(place);
    journal.settle(place.segment, 1, 1);
    REQUIRE(!journal.sync_settles());

    disk.remove_directory();
    journal.settle(place.segment, 2, 1);
    CHECK(journal.sync_settles());
    CHECK(journal.sync_settles());  // nor when they are asked for once more
    CHECK(journal.has_unwritten_settles());
  }

  TEST_CASE("journal: what is written ahead of small commits stays within their segment") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = 8 * kLimit, .log = {}});
    const Journal::Place begin = put_on_disk(journal, hall.block(), 1);
    const std::string segment = segment_name(begin.segment);
    const std::size_t size = disk.bytes(segment).size();
    REQUIRE(size == journal.segment_bytes());  // a megabyte: it happens several times

    const std::string payload(1000, 'x');
    std::uint64_t sequence = 2;
    for (Journal::Place last = begin; last.end + 2 * payload.size() < size; ++sequence) {
      last = put_on_disk(
          journal, block_of(hall.memory, hall.door, std::vector{event_of(payload)}, {.frame = kEventFrame}), sequence);
      REQUIRE(last.segment == begin.segment);
    }
    CHECK(disk.bytes(segment).size() == size);
    journal.show({begin.segment, begin.begin, size, {}});
    CHECK(rest_of(journal, hall.memory).size() == sequence - 1);
  }

  TEST_CASE("journal: a segment that is removed behind the reader does not keep its room on the disk") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    const std::string fills(journal.segment_bytes(), 'x');
    const auto large = [&] {
      return block_of(hall.memory, hall.door, std::vector{event_of(fills)}, {.frame = kEventFrame});
    };
    const Journal::Place removed = put_on_disk(journal, large(), 1);
    journal.show(removed);
    REQUIRE(rest_of(journal, hall.memory) == Sequences{1});

    // What comes now goes straight to the queue: the reader has nothing to read any more.
    put_on_disk(journal, large(), 2);
    journal.settle(removed.segment, 1, 1);
    journal.maintain();
    REQUIRE(!disk.bytes_if_there(segment_name(removed.segment)));
    std::uint64_t named = 0;
    for (const std::string& name : disk.names()) named += disk.bytes(name).size();
    CHECK(disk.used() < named + fills.size());
  }

  TEST_CASE("feeder: what it brings has its own ids and time, also where some before it is finished") {
    Hall hall;
    MemoryDisk disk(1);
    std::chrono::system_clock::time_point received;
    {
      Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      Block::Owner block = hall.block(4);
      received = block->received();
      const Journal::Place place = put_on_disk(journal, block, 1);
      journal.settle(place.segment, 2, 1);
      REQUIRE(!journal.sync_settles());
    }
    const auto next = killed(disk);
    Journal journal(*next, {.run = {}, .limit_bytes = kLimit, .log = {}});
    EventQueue queue{{}, 1, Slice::kMost};
    Feeder feeder(journal, queue, hall.door, hall.memory, {}, {.lost = [](std::uint64_t) {}, .log = {}});
    feeder.run(nullptr);
    feeder.wake();
    Slice slice{};
    REQUIRE(eventually([&] { return queue.try_pop({&slice, 1}) == 1; }));
    Sequences sequences;
    for (std::uint32_t i = 0; i < slice.count; ++i) {
      const Delivery event = slice.block->delivery(i);
      sequences.push_back(event.id.sequence);
      CHECK(event.received == received);
    }
    CHECK(sequences == Sequences{1, 3, 4});
    slice.block->release(slice.count);
    hall.door.give_back_events(slice.count);
    feeder.stop();
    REQUIRE(feeder.join(Clock::now() + 10s));
  }

  TEST_CASE("feeder: an event that fits into the window is charged no more than the window, wherever it was read to") {
    const std::string payload(250'000, 'x');  // most of what the feeder reads it to
    const std::vector<Event> events{event_of(payload)};
    const std::size_t fits = Block::bytes_for(events, {.own_marks = true});
    const std::size_t all_of_it = Block::bytes_for_adopted(RecordReader::kBuffer, 1, {.own_marks = true});
    REQUIRE(all_of_it > fits);
    Admission door{16, all_of_it - 1};
    Hall hall;
    EventQueue queue{{}, 1, Slice::kMost};
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    Feeder feeder(journal, queue, door, hall.memory, {}, {.lost = [](std::uint64_t) {}, .log = {}});
    journal.show(put_on_disk(journal, block_of(hall.memory, hall.door, events, {.frame = kEventFrame}), 1));

    feeder.run(nullptr);
    Slice slice{};
    REQUIRE(eventually([&] { return queue.try_pop({&slice, 1}) == 1; }));
    CHECK(door.bytes_out() <= door.byte_limit());
    CHECK(slice.block->delivery(0).text() == payload);
    slice.block->release(1);
    door.give_back_events(1);
    feeder.stop();
    REQUIRE(feeder.join(Clock::now() + 10s));
    CHECK(door.bytes_out() == 0);
  }

  TEST_CASE("feeder: events stay where they were read to, and that is charged until the last of them is finished") {
    constexpr std::size_t kMiB = std::size_t{1} << 20U;
    constexpr std::size_t kEvents = 400;  // more than are read at once
    Admission door{2 * kEvents, 8 * kMiB};
    BlockMemory memory{4 * kMiB};
    EventQueue queue{{}, 1, Slice::kMost};
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = 16 * kMiB, .log = {}});
    Feeder feeder(journal, queue, door, memory, {}, {.lost = [](std::uint64_t) {}, .log = {}});
    std::vector<std::string> sent;
    std::vector<Event> events;
    for (std::size_t i = 0; i < kEvents; ++i) sent.emplace_back(1000 + i, static_cast<char>('a' + i % 26));
    for (const std::string& payload : sent) events.push_back({std::as_bytes(std::span(payload)), "text/plain"});
    journal.show(put_on_disk(journal, block_of(memory, door, events, {.frame = kEventFrame}), 1));
    REQUIRE(door.bytes_out() == 0);
    const std::size_t idle_before = memory.idle();

    feeder.run(nullptr);
    std::vector<Slice> slices;
    for (std::size_t got = 0; got < kEvents;) {
      Slice slice{};
      REQUIRE(eventually([&] { return queue.try_pop({&slice, 1}) == 1; }));
      for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i, ++got) {
        const Delivery seen = slice.block->delivery(i);
        REQUIRE(seen.id.sequence == 1 + got);
        REQUIRE(seen.content_type == "text/plain");
        REQUIRE(std::ranges::equal(seen.payload, std::as_bytes(std::span(sent[got]))));
      }
      slices.push_back(slice);
    }
    feeder.stop();
    REQUIRE(feeder.join(Clock::now() + 10s));
    // As they lie in the file: each with its record's head between it and the one before.
    const Delivery first = slices.front().block->delivery(0);
    const Delivery second = slices.front().block->delivery(1);
    CHECK(second.payload.data() - first.payload.data() ==
          static_cast<std::ptrdiff_t>(aligned(kEventFrame + 10 + 1000)));
    CHECK(slices.front().block != slices.back().block);
    CHECK(door.bytes_out() >= RecordReader::kBuffer + kEvents * 1000 / 4);
    for (const Slice& slice : slices) {
      CHECK(door.bytes_out() > 0);
      slice.block->release(slice.count);
    }
    CHECK(door.bytes_out() == 0);
    CHECK(memory.idle() >= idle_before + 2 * RecordReader::kBuffer);
    door.give_back_events(kEvents);
  }

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
    std::atomic<bool> settling{false};
    disk.on_call([&](Call call, std::string_view name) {
      if (call != Call::write || !is_settled(name) || settling.exchange(true)) return;
      at_disk.release();
      go_on.acquire();
    });
    auto rooms = std::make_shared<Rooms>(disk, Pace{.settle_every = 1ms});
    REQUIRE(rooms->try_straight() == Feeder::Straight::done);
    rooms->committer.submit(rooms->request([&](bool committed, const EventId&, const EventId& last) {
      if (committed) rooms->committer.settle(1, last.sequence, 1);
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
      const std::vector<Journal::Loose> older(1, {.sequence = 3, .received = {}, .content_type = {}, .payload = {}});
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
    const std::vector<Event> four{event_of("a"), event_of("b"), event_of("c"), event_of("d")};
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
      REQUIRE(engine->track(std::vector<Event>{event_of("a"), event_of("b")}) == Admit::accepted);
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
      REQUIRE(engine->track(event_of("a")) == Admit::accepted);
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
        Engine engine(disk, options, not_yet);
        REQUIRE(engine->track(event_of("a")) == Admit::accepted);
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

  TEST_CASE("journal: a sync that fails once, at the very end, takes nothing with it") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::written;
    {
      Engine engine(disk, options, not_yet);
      REQUIRE(engine->track(event_of("a")) == Admit::accepted);
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
    REQUIRE(engine->track(event_of("a")) == Admit::accepted);
    const Report report = engine->shutdown(10s);
    CHECK(report.books.delivered == 1);
    CHECK(report.disk_failed);
    CHECK(report.reason == Reason::fault);
  }

  TEST_CASE("journal: who waits for room is refused once, however often he looked") {
    MemoryDisk disk(1);
    Options options;
    options.ack = Ack::synced;
    options.queue_events = 1;
    Engine engine(disk, options, not_yet);
    const std::vector<Event> one(1, event_of("x"));
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
      const std::vector<Event> one(1, event_of(large));
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
    const std::vector<Event> one(1, event_of(large));
    Admit answer = Admit::accepted;
    for (int i = 0; i < 1000 && answer == Admit::accepted; ++i) answer = engine->track(one);
    REQUIRE(answer == Admit::full);
    std::atomic<int> got{-1};
    std::jthread waiter([&] { got = static_cast<int>(engine->wait_track(one, Clock::now() + 1h)); });
    static_cast<void>(engine->shutdown(0s));
    CHECK(eventually([&] { return got.load() == static_cast<int>(Admit::closed); }));
  }
}
