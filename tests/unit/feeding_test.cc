// The seam between disk and memory, step by step: which block goes straight to the queue, which stays on disk, who is
// told what and when. Over the disk in memory; the calls of the threads are made by the test, one by one, but where it
// says that a thread runs.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "backlog/committer.h"
#include "backlog/feeder.h"
#include "backlog/unrecorded.h"
#include "journal/pace.h"
#include "journal_support.h"
#include "queue/event_queue.h"

using namespace journal_support;

namespace {

// All that stands between the door and the workers. No thread runs until a test says so.
struct Station {
  explicit Station(MemoryDisk& disk, Committer::Config config = {})
      : journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}}),
        feeder(journal, queue, door, memory, {}, {.lost = [](std::uint64_t) {}, .log = {}}),
        committer(journal, feeder, queue, unrecorded, std::move(config),
                  {.accepted = [this](std::uint64_t n) { accepted(n); },
                   .took = {},
                   .turned = {},
                   .log = [](LogLevel, std::string_view) {}}) {}

  Block::Owner block(std::size_t events = 1) {
    const std::vector<Event> some(events, Event("x"));
    return block_of(memory, door, some, {.frame = kEventFrame, .watched = true});
  }
  // One of the passage.
  Block::Owner passing(std::size_t events = 1) {
    const std::vector<Event> some(events, Event("x"));
    const Block::Layout layout{.frame = kEventFrame};
    auto ticket = door.try_pass(events, Block::bytes_for(some, layout));
    return Block::make(memory, some, std::get<Ticket>(std::move(ticket)), layout);
  }
  // Commits them as one, and lets the feeder decide. What stays on disk stays in `blocks`.
  void commit_all(std::vector<Block::Owner>& blocks, std::uint64_t first) {
    Journal::Place place;
    REQUIRE(!commit(journal, blocks, first, place));
    feeder.expect_commit(blocks.size());
    feeder.committed(blocks, place);
  }
  bool commit_one(Block::Owner block, std::uint64_t first) {
    std::vector<Block::Owner> blocks;
    blocks.push_back(std::move(block));
    commit_all(blocks, first);
    return blocks[0] == nullptr;  // straight
  }
  Feeder::Straight try_straight() {
    EventId first;
    Block::Owner made = block();
    return feeder.try_straight(made, unrecorded, first);
  }
  Committer::Request request(Committer::Told told) {
    Block::Owner made = block();
    const std::uint64_t cost = Journal::cost(made->body().size(), 1);
    REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
    feeder.expect_commit(1);
    return {.block = std::move(made), .reserved = cost, .told = std::move(told)};
  }
  // What the queue holds, finished at once.
  Sequences pop_all() {
    Sequences all;
    Slice slice{};
    while (queue.try_pop({&slice, 1}) == 1) {
      for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i) all.push_back(slice.block->sequence(i));
      const bool watched = slice.block->watched();
      if (watched && slice.block->home() == 0) {
        static_cast<void>(unrecorded.finish(*slice.block, slice.first, slice.count));
      }
      slice.block->release(slice.count);
      door.give_back_events(slice.count);
    }
    return all;
  }

  Admission door{1024, std::size_t{1} << 20U, std::size_t{1} << 18U};
  BlockMemory memory{std::size_t{1} << 20U};
  Unrecorded unrecorded;
  EventQueue queue{{}, 1000, 1};
  std::function<void(std::uint64_t)> accepted = [](std::uint64_t) {};
  Journal journal;
  Feeder feeder;
  Committer committer;
};

}  // namespace

TEST_SUITE("journal") {
  TEST_CASE("feeding: what is committed behind a backlog joins it, and what comes when it is through goes straight") {
    MemoryDisk disk(1);
    Station station(disk);
    station.journal.show(put_on_disk(station.journal, station.block(), 1));
    CHECK_FALSE(station.commit_one(station.block(), 2));
    CHECK(station.pop_all().empty());
    CHECK(rest_of(station.journal, station.memory) == Sequences{1, 2});
    CHECK(station.commit_one(station.block(), 3));
    CHECK(station.pop_all() == Sequences{3});
    CHECK(rest_of(station.journal, station.memory).empty());
  }

  TEST_CASE("feeding: a block for which the window has no room stays on disk, and so do all behind it") {
    MemoryDisk disk(1);
    Station station(disk);
    auto others = station.door.try_admit(1021, 0);
    std::vector<Block::Owner> blocks;
    blocks.push_back(station.passing(2));
    blocks.push_back(station.passing(2));  // one too many
    blocks.push_back(station.passing(1));  // which alone would fit
    station.commit_all(blocks, 1);
    CHECK(blocks[0] == nullptr);
    REQUIRE((blocks[1] && blocks[2]));
    CHECK(blocks[1]->ticket().passes());
    blocks.clear();
    CHECK(station.door.events_out() == 1023);
    CHECK(station.pop_all() == Sequences{1, 2});
    CHECK(rest_of(station.journal, station.memory) == Sequences{3, 4, 5});
    CHECK(station.door.bytes_out() == 0);
  }

  TEST_CASE("feeding: a block that the closed queue refuses is not fed: its events are still to be read from disk") {
    MemoryDisk disk(1);
    Station station(disk);
    station.queue.close();
    for (const bool passes : {true, false}) {
      CHECK_FALSE(station.commit_one(passes ? station.passing() : station.block(), passes ? 1 : 2));
    }
    CHECK(station.door.events_out() == 0);
    CHECK(station.door.bytes_out() == 0);
    CHECK(rest_of(station.journal, station.memory) == Sequences{1, 2});
  }

  TEST_CASE("feeding: what the feeder read for a queue that was closed meanwhile is not fed either") {
    MemoryDisk disk(1);
    Station station(disk);
    station.journal.show(put_on_disk(station.journal, station.passing(), 1));
    const std::uint64_t before = disk.calls(Call::read);
    disk.on_call([&](Call call, std::string_view) {
      if (call == Call::read) station.queue.close();  // there is room, so what was read goes to the queue next
    });
    station.feeder.run(nullptr);
    station.feeder.wake();
    REQUIRE(eventually([&] { return disk.calls(Call::read) > before; }));
    station.feeder.stop();
    REQUIRE(station.feeder.join(Clock::now() + 10s));
    CHECK(station.door.events_out() == 0);
    CHECK(station.door.bytes_out() == 0);
    CHECK(rest_of(station.journal, station.memory) == Sequences{1});
  }

  TEST_CASE("feeding: under queued nobody overtakes a request on its way to a commit, nor a backlog") {
    MemoryDisk disk(1);
    Station station(disk);
    CHECK(station.try_straight() == Feeder::Straight::done);
    station.feeder.expect_commit(1);
    CHECK(station.feeder.is_behind());
    CHECK(station.try_straight() == Feeder::Straight::behind);  // and is expected itself
    station.feeder.gave_up(1);
    CHECK(station.try_straight() == Feeder::Straight::behind);
    station.feeder.gave_up(2);
    CHECK_FALSE(station.feeder.is_behind());
    CHECK(station.try_straight() == Feeder::Straight::done);
    station.journal.show(put_on_disk(station.journal, station.block(), 100));
    CHECK(station.feeder.is_behind());
    CHECK(station.try_straight() == Feeder::Straight::behind);
    station.feeder.gave_up(1);
    CHECK(rest_of(station.journal, station.memory) == Sequences{100});
    CHECK(station.try_straight() == Feeder::Straight::done);
    CHECK(station.pop_all() == Sequences{1, 2, 3});
  }

  TEST_CASE("feeding: each request of a commit is expected no more, whether it went straight or stays on disk") {
    MemoryDisk disk(1);
    Station station(disk);
    for (const bool backlog : {false, true}) {
      std::vector<Block::Owner> blocks;
      for (int i = 0; i < 3; ++i) blocks.push_back(station.block());
      if (backlog) station.journal.show(put_on_disk(station.journal, station.block(), 4));
      station.commit_all(blocks, backlog ? 5 : 1);
      blocks.clear();
      CHECK(rest_of(station.journal, station.memory) == (backlog ? Sequences{4, 5, 6, 7} : Sequences{}));
      CHECK_FALSE(station.feeder.is_behind());
    }
  }

  TEST_CASE("feeding: what a closed queue refused is no unrecorded event, and nobody is left at the door") {
    MemoryDisk disk(1);
    Station station(disk);
    station.queue.close();
    CHECK(station.try_straight() == Feeder::Straight::closed);
    CHECK(station.unrecorded.events() == 0);
    CHECK(station.unrecorded.hold_all().empty());
    CHECK(station.door.events_out() == 0);
    CHECK(station.door.bytes_out() == 0);
  }

  TEST_CASE("feeding: the feeder is woken for what stays on disk") {
    MemoryDisk disk(1);
    Station station(disk);
    station.feeder.run(nullptr);
    for (std::uint64_t n = 1; n <= 20; ++n) {
      auto all_of_it = station.door.try_admit(1024, 0);
      CHECK_FALSE(station.commit_one(station.passing(), n));
      all_of_it = Admit::full;
      Sequences got;
      REQUIRE(eventually([&] {
        got = station.pop_all();
        return !got.empty();
      }));
      CHECK(got == Sequences{n});
      REQUIRE(eventually([&] { return station.journal.caught_up(); }));
    }
    station.feeder.stop();
    REQUIRE(station.feeder.join(Clock::now() + 10s));
  }

  TEST_CASE("feeding: an event of an earlier, larger window comes alone, beyond the bounds of this one") {
    MemoryDisk disk(1);
    Station station(disk);
    const std::string large(5000, 'x');
    const std::vector<Event> events(3, Event(large));
    station.journal.show(
        put_on_disk(station.journal, block_of(station.memory, station.door, events, {.frame = kEventFrame}), 1));
    Admission small(2, 4000);
    Feeder feeder(station.journal, station.queue, small, station.memory, {}, {.lost = [](std::uint64_t) {}, .log = {}});
    auto in_window = small.try_admit(1, 0);
    feeder.run(nullptr);
    feeder.wake();
    REQUIRE(eventually([&] { return disk.calls(Call::read) > 0; }));
    CHECK(small.bytes_out() == 0);
    in_window = Admit::full;
    for (std::uint64_t n = 1; n <= 3; ++n) {
      Slice slice{};
      REQUIRE(eventually([&] { return station.queue.try_pop({&slice, 1}) == 1; }));
      CHECK(slice.block->sequence(slice.first) == n);
      CHECK(small.window_events_out() == 1);
      slice.block->release(1);
      small.give_back_events(1);
    }
    feeder.stop();
    REQUIRE(feeder.join(Clock::now() + 10s));
    CHECK(small.bytes_out() == 0);
  }
}

TEST_SUITE("journal") {
  TEST_CASE("committer: events count as accepted before a worker can have them, and are answered when both is done") {
    MemoryDisk disk(1);
    Station station(disk);
    std::uint64_t counted = 0;
    std::size_t seen_then = 1;
    station.accepted = [&](std::uint64_t n) {
      counted += n;
      seen_then = station.queue.size_approx();
    };
    std::uint64_t synced = 0;
    const std::uint64_t before = disk.passed(Instant::after_sync);
    std::size_t seen_at_answer = 0;
    station.committer.submit(station.request([&](bool committed, const EventId& first, const EventId& last) {
      CHECK(committed);
      CHECK(first.sequence == 1);
      CHECK(last.sequence == 1);
      synced = disk.passed(Instant::after_sync) - before;
      seen_at_answer = station.queue.size_approx();
    }));
    station.committer.run(nullptr);
    REQUIRE(station.committer.stop(Clock::now() + 10s));
    CHECK(counted == 1);
    CHECK(seen_then == 0);
    CHECK(synced == 1);
    CHECK(seen_at_answer == 1);
  }

  TEST_CASE("committer: a commit that the disk refuses is answered once, leaves no trace, and its number is used up") {
    MemoryDisk disk(1);
    Station station(disk, {.run = {}, .pace = {.least_backoff = 1ms, .most_backoff = 1ms}});
    disk.fail({.call = Call::sync, .where = is_segment});
    std::atomic<int> answers{0};
    std::atomic<bool> accepted{true};
    station.committer.submit(station.request([&](bool committed, const EventId&, const EventId&) {
      accepted = committed;
      ++answers;
    }));
    station.committer.run(nullptr);
    // It has failed before it answers.
    REQUIRE(eventually([&] { return answers == 1 && !station.journal.failed(); }));
    CHECK(disk.failed_syncs(is_segment) == 1);
    std::atomic<std::uint64_t> sequence{0};
    station.committer.submit(
        station.request([&](bool, const EventId& first, const EventId&) { sequence = first.sequence; }));
    REQUIRE(eventually([&] { return sequence != 0; }));
    REQUIRE(station.committer.stop(Clock::now() + 10s));
    CHECK(answers == 1);
    CHECK_FALSE(accepted);
    CHECK(sequence == 2);
    CHECK(station.pop_all() == Sequences{2});
    CHECK(station.journal.reserved() == 0);
    CHECK(station.door.events_out() == 0);
    CHECK_FALSE(station.feeder.is_behind());
  }

  TEST_CASE("committer: what comes while it closes the journal is answered, and gives back what it had") {
    MemoryDisk disk(1);
    std::function<void()> at_close;
    disk.on_call([&](Call call, std::string_view name) {
      if (call == Call::truncate && is_segment(name) && at_close) std::exchange(at_close, nullptr)();
    });
    Station station(disk);
    station.journal.show(put_on_disk(station.journal, station.block(), 1));  // something to seal
    std::optional<bool> answer;
    at_close = [&] {
      station.committer.submit(
          station.request([&](bool committed, const EventId&, const EventId&) { answer = committed; }));
    };
    station.committer.run(nullptr);
    REQUIRE(station.committer.stop(Clock::now() + 10s));
    REQUIRE(answer.has_value());
    CHECK_FALSE(*answer);
    CHECK(station.door.events_out() == 0);
    CHECK(station.journal.reserved() == 0);
  }

  TEST_CASE("committer: under written a block stays in memory until a sync, though its events are finished") {
    MemoryDisk disk(1);
    Station station(disk, {.run = {}, .sync_each = false, .most_unsynced = kLimit, .pace = {.sync_every = 1h}});
    std::atomic<bool> answered{false};
    station.committer.submit(station.request([&](bool, const EventId&, const EventId&) { answered = true; }));
    station.committer.run(nullptr);
    REQUIRE(eventually([&] { return answered.load(); }));
    CHECK(station.pop_all() == Sequences{1});
    CHECK(station.door.events_out() == 0);
    CHECK(station.door.bytes_out() > 0);
    REQUIRE(station.committer.stop(Clock::now() + 10s));
    CHECK(station.door.bytes_out() == 0);
  }

  TEST_CASE("unrecorded: an event that is finished twice counts once, and what is finished is not written down") {
    MemoryDisk disk(1);
    Station station(disk);
    EventId first;
    Block::Owner owner = station.block(3);
    Block& block = *owner;
    REQUIRE(station.feeder.try_straight(owner, station.unrecorded, first) == Feeder::Straight::done);
    CHECK(station.unrecorded.events() == 3);
    CHECK(station.unrecorded.finish(block, 1, 1) == 0);
    CHECK(station.unrecorded.finish(block, 0, 2) == 0);
    CHECK(station.unrecorded.events() == 1);
    std::vector<Block*> held = station.unrecorded.hold_all();
    REQUIRE(held.size() == 1);
    std::vector<std::uint32_t> unfinished;
    station.unrecorded.each_unfinished(block, [&](std::uint32_t i) { unfinished.push_back(i); });
    CHECK(unfinished == std::vector<std::uint32_t>{2});
    std::vector<std::uint32_t> settled;
    station.unrecorded.recorded(block, 7, [&](std::uint32_t i) { settled.push_back(i); });
    CHECK(settled == std::vector<std::uint32_t>{0, 1});
    CHECK(station.unrecorded.events() == 0);
    CHECK(station.unrecorded.hold_all().empty());
    CHECK(station.unrecorded.finish(block, 2, 1) == 7);
    CHECK(station.unrecorded.events() == 0);
    held[0]->release(1);
    CHECK(station.pop_all().size() == 3);
  }
}
