// What a journal's files hold of the disk, and what their names stand for: a file without a name promises nothing, one
// that has a name counts at the next start.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "journal_support.h"

using namespace journal_support;

TEST_SUITE("journal") {
  TEST_CASE("journal: while copies that could not be made have a name nothing is settled for good, and nothing goes") {
    Hall hall;
    MemoryDisk disk(1);
    std::string original;
    std::string copies;
    {
      Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      const Block::Owner block = hall.block(2);
      block->number({}, 1);
      Block* const unsynced = block.get();
      const std::uint64_t cost = Journal::cost(block->body().size(), 2);
      REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
      Journal::Place place;
      REQUIRE(!commit_blocks(journal, {&unsynced, 1}, cost, false, place));
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
      REQUIRE(recover_blocks(journal, {&unsynced, 1}));
      REQUIRE(disk.bytes_if_there(copies));
      const std::uint64_t created = disk.calls(Call::create);
      for (int i = 0; i < 10; ++i) CHECK(recover_blocks(journal, {&unsynced, 1}));
      CHECK(disk.calls(Call::create) == created);  // no further one beside it

      journal.settle(place.segment, 1, 1);
      CHECK(journal.sync_settles());
      REQUIRE(!recover_blocks(journal, {}));
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
    for (Journal::Place last = begin; last.end + 2 * payload.size() + kTailRoom + kBlock < size; ++sequence) {
      last = put_on_disk(journal, block_of(hall.memory, hall.door, std::vector{Event(payload)}, {.frame = kEventFrame}),
                         sequence);
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
      return block_of(hall.memory, hall.door, std::vector{Event(fills)}, {.frame = kEventFrame});
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
}
