// What is fed, in which order, how often, and what that is charged: the seam between what stands on disk and what is in
// memory. Each test is an event that was once lost, doubled or not accounted for there.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backlog/feeder.h"
#include "journal/record_reader.h"
#include "journal_support.h"

using namespace journal_support;

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

  TEST_CASE("journal: out of a removed directory what was synced comes before what was written behind it") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    const Block::Owner synced = hall.block();
    const Journal::Place first = put_on_disk(journal, synced, 1);
    synced->settle_in(first.segment);
    journal.show(first);
    const Block::Owner written = hall.block();
    written->number({}, 2);
    Block* const raw = written.get();
    const std::uint64_t cost = Journal::cost(written->body().size(), 1);
    REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
    Journal::Place second;
    REQUIRE_FALSE(commit_blocks(journal, {&raw, 1}, cost, false, second));
    written->settle_in(second.segment);
    journal.show(second);
    disk.remove_directory();
    REQUIRE(journal.sync());
    REQUIRE_FALSE(recover_blocks(journal, {&raw, 1}));
    CHECK(rest_of(journal, hall.memory) == Sequences{1, 2});
  }

  TEST_CASE("journal: what is broken in a file that somebody has removed is not kept, though no feeder tells of it") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    const Journal::Place first = put_on_disk(journal, hall.block(), 1);
    const Journal::Place broken = put_on_disk(journal, hall.block(), 2);
    journal.show(first);
    journal.show(broken);
    for (std::uint64_t next = 3, segment = first.segment; segment == first.segment; ++next) {
      const Journal::Place place = put_on_disk(journal, hall.block(512), next * 1000);
      journal.show(place);
      segment = place.segment;
    }
    const std::string name = segment_name(first.segment);
    std::string bytes = disk.bytes(name);
    bytes[broken.begin + kCommitFrame + kEventFrame] ^= 1;
    disk.replace(name, bytes);
    disk.remove_file(name);
    REQUIRE_FALSE(journal.look_for_names());
    CHECK(journal.nameless() == 1);
    Journal::Backlog backlog;
    journal.read_backlog(1, 4096, buffers_of(hall.memory), backlog);
    CHECK(backlog.lost == 1);
    CHECK(backlog.events.front().sequence == 1);
    CHECK(journal.nameless() == 0);
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
    journal.read_backlog(2, 4096, buffers_of(hall.memory), backlog);
    REQUIRE(backlog.events.size() == 2);

    disk.remove_directory();
    std::vector<Block::Owner> one(1);
    one[0] = hall.block();
    Journal::Place place;
    REQUIRE(commit(journal, one, 4, place));
    at_copying = [&] { journal.fed_backlog(backlog); };
    REQUIRE(!recover_blocks(journal, {}));
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
    journal.read_backlog(1, 4096, buffers_of(hall.memory), backlog);
    REQUIRE(backlog.error);
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
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
    const std::vector<Event> events{Event(payload)};
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
}
