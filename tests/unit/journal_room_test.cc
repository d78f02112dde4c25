// How much of the disk a journal takes, how many files, and in which order its events come after some of them were
// copied: whatever ended the lives before. One thread.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "journal_support.h"

using namespace journal_support;

namespace {

// Of the journal's files, all together.
std::uint64_t bytes_on(const MemoryDisk& disk) {
  std::uint64_t bytes = 0;
  for (const auto& [name, size] : disk.sizes()) bytes += size;
  return bytes;
}

RunId run_of(std::uint64_t life) {
  RunId run{{0x5A}};
  run.bytes[14] = static_cast<std::uint8_t>(life >> 8U);
  run.bytes[15] = static_cast<std::uint8_t>(life);
  return run;
}

bool takes(Journal& journal) {
  const std::uint64_t cost = Journal::cost(100, 1);
  const bool reserved = journal.try_reserve(cost) == Journal::Room::reserved;
  if (reserved) journal.give_back(cost);
  return reserved;
}

Block::Owner large(Hall& hall, std::size_t bytes) {
  const std::string fills(bytes, 'x');
  return block_of(hall.memory, hall.door, std::vector{Event(fills)}, {.frame = kEventFrame});
}

// A block that is committed and not synced.
Journal::Place write_only(Journal& journal, const Block::Owner& block, std::uint64_t first) {
  block->number({}, first);
  Block* const raw = block.get();
  const std::uint64_t cost = Journal::cost(block->body().size(), block->count());
  REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
  Journal::Place place;
  REQUIRE(!commit_blocks(journal, {&raw, 1}, cost, false, place));
  journal.show(place);
  return place;
}

// The journal is full of what nobody has finished; one event of ten, the fifth, holds the first segment; and a producer
// was refused.
void hold_the_first(Hall& hall, Journal& journal) {
  const Journal::Place place = put_on_disk(journal, hall.block(10), 1);
  journal.show(place);
  for (std::uint64_t next = 11; takes(journal);) {
    const std::size_t bytes = journal.segment_bytes();  // in a segment of its own
    if (journal.try_reserve(Journal::cost(bytes, 1)) != Journal::Room::reserved) break;
    journal.give_back(Journal::cost(bytes, 1));
    journal.show(put_on_disk(journal, large(hall, bytes), next++));
  }
  REQUIRE(rest_of(journal, hall.memory).size() > 10);
  journal.settle(place.segment, 1, 4);
  journal.settle(place.segment, 6, 5);
  REQUIRE(journal.try_reserve(kLimit / 2) == Journal::Room::full);
}

}  // namespace

TEST_SUITE("journal") {
  TEST_CASE(
      "journal room: fifty lives that are killed after three events each take what these need, and go on taking") {
    constexpr std::uint64_t kLives = 50;
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    const std::uint64_t limit = 8 * kLimit;
    for (std::uint64_t life = 0; life < kLives; ++life) {
      {
        Journal journal(*disk, {.run = run_of(life), .limit_bytes = limit, .log = {}});
        CHECK(journal.replayed() == 3 * life);
        put_on_disk(journal, hall.block(2), 1);
        put_on_disk(journal, hall.block(), 3);
        CHECK(bytes_on(*disk) <= journal.segment_bytes() + (life + 1) * (std::uint64_t{64} << 10U));
        CHECK(journal.bytes() <= (life + 1) * (std::uint64_t{64} << 10U));
      }
      disk = killed(*disk);
    }
    Journal journal(*disk, {.run = run_of(kLives), .limit_bytes = limit, .log = {}});
    CHECK(takes(journal));
    CHECK(rest_of(journal, hall.memory).size() == 3 * kLives);
  }

  TEST_CASE("journal room: what an earlier run could not seal is charged for what it takes of the disk") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    bool full = false;
    for (std::uint64_t life = 0; life < 12 && !full; ++life) {
      {
        Journal journal(*disk, {.run = run_of(life), .limit_bytes = kLimit, .log = {}});
        REQUIRE_FALSE(journal.failed());
        const std::size_t bytes = journal.segment_bytes() / 2;
        full = journal.try_reserve(Journal::cost(bytes, 2)) != Journal::Room::reserved;
        if (!full) {
          journal.give_back(Journal::cost(bytes, 2));
          put_on_disk(journal, large(hall, bytes), 1);
          if (takes(journal)) put_on_disk(journal, hall.block(), 2);
        }
        CHECK(bytes_on(*disk) <= kLimit);
      }
      disk = killed(*disk);
      disk->fail({.call = Call::truncate, .lasts = true, .where = is_segment});
    }
    CHECK(full);

    // As soon as the disk lets it, they are cut.
    const std::uint64_t before = bytes_on(*disk);
    disk->heal();
    Journal journal(*disk, {.run = run_of(99), .limit_bytes = kLimit, .log = {}});
    CHECK(bytes_on(*disk) < before - 3 * (journal.segment_bytes() / 2 - (std::uint64_t{32} << 10U)));
  }

  TEST_CASE("journal room: a start that secures what was not synced does not pass the limit for a moment") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    {
      Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      write_only(journal, large(hall, kLimit / 5 * 3), 1);  // more than what is kept free for copies
    }
    disk = killed(*disk);
    std::uint64_t most = 0;
    disk->on_call([&](Call, std::string_view) { most = std::max(most, bytes_on(*disk)); });
    Journal journal(*disk, {.run = run_of(1), .limit_bytes = kLimit, .log = {}});
    CHECK(most <= kLimit);
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
  }

  TEST_CASE(
      "journal room: where the limit leaves no room for what was not synced, it waits for what is delivered and is not "
      "written over") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    std::uint64_t next = 1;
    std::vector<Journal::Place> places;
    {
      Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      for (; next <= 3; ++next) places.push_back(put_on_disk(journal, large(hall, journal.segment_bytes()), next));
      places.push_back(write_only(journal, large(hall, kLimit / 3), next));  // more than what is kept free for copies
    }
    disk = killed(*disk);
    std::size_t over = 0;
    const auto count = [&, last = segment_name(places.back().segment)](Call call, std::string_view name) {
      over += call == Call::write && name == last ? 1U : 0U;
    };
    disk->on_call(count);
    const auto deliver_others = [&](Journal& journal) {
      CHECK(journal.failed());
      CHECK(journal.cause().find(" is to be written anew and waits for room below the limit: ") != std::string::npos);
      CHECK(journal.replayed() == next);
      const Sequences others = rest_of(journal, hall.memory);
      CHECK(others == Sequences{1, 2, 3});
      CHECK(recover_blocks(journal, {}));
      for (const std::uint64_t sequence : others) journal.settle(places[sequence - 1].segment, sequence, 1);
      REQUIRE(!journal.write_settles());
    };
    SUBCASE("in this run") {
      Journal journal(*disk, {.run = run_of(1), .limit_bytes = kLimit, .log = {}});
      deliver_others(journal);
      REQUIRE(!recover_blocks(journal, {}));
      CHECK(rest_of(journal, hall.memory) == Sequences{next});
      CHECK(over == 0);
      CHECK(bytes_on(*disk) <= kLimit);
    }
    SUBCASE("or in the next one") {
      {
        Journal journal(*disk, {.run = run_of(1), .limit_bytes = kLimit, .log = {}});
        deliver_others(journal);
        disk->kill();
      }
      disk = disk->reboot();
      disk->on_call(count);
      Journal journal(*disk, {.run = run_of(2), .limit_bytes = kLimit, .log = {}});
      CHECK_FALSE(journal.failed());
      CHECK(rest_of(journal, hall.memory) == Sequences{next});
      CHECK(over == 0);
      CHECK(bytes_on(*disk) <= kLimit);
    }
  }

  TEST_CASE("journal room: starts that are killed at once leave one empty segment, not one each") {
    auto disk = std::make_unique<MemoryDisk>(1);
    for (std::uint64_t life = 0; life < 5; ++life) {
      disk->end_at(model::End::kill, Instant::after_create);
      { const Journal journal(*disk, {.run = run_of(life), .limit_bytes = kLimit, .log = {}}); }
      REQUIRE(disk->ended());
      disk = disk->reboot();
      CHECK(disk->sizes().size() == 2);  // with its settled file
    }
  }

  TEST_CASE("journal room: a segment that failed is charged for what it takes of the disk, or cut") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    std::uint64_t next = 1;
    for (int i = 0; i < 20; ++i) {
      journal.show(put_on_disk(journal, hall.block(3), next));
      next += 3;
      disk.fail({.call = Call::sync, .where = is_segment});
      std::vector<Block::Owner> fails(1);
      fails[0] = hall.block();
      Journal::Place nowhere;
      REQUIRE(commit(journal, fails, next++, nowhere));
      journal.give_back(Journal::cost(fails[0]->body().size(), 1));
      REQUIRE(!recover_blocks(journal, {}));
      CHECK(bytes_on(disk) <= kLimit);
      if (!takes(journal)) break;
    }
    CHECK(journal.bytes() >= bytes_on(disk) - journal.segment_bytes());
  }

  TEST_CASE("journal room: a segment that was sealed before the next one failed keeps its end") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    std::size_t damaged = 0;
    const LogHook log = [&damaged](LogLevel, std::string_view line) {
      damaged += line.starts_with("the journal is damaged") ? 1U : 0U;
    };
    {
      Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = log});
      // Its footer lies across the end of a block.
      const std::size_t bytes = journal.segment_bytes() / 2 / 4096 * 4096 - 2 * kCommitFrame - kEventFrame - 48;
      const Journal::Place first = put_on_disk(journal, large(hall, bytes), 1);
      REQUIRE(first.end % 4096 > 4096 - kFooterSize);
      disk->fail({.call = Call::create});
      std::vector<Block::Owner> next(1);
      next[0] = large(hall, journal.segment_bytes() / 2);
      Journal::Place nowhere;
      REQUIRE(commit(journal, next, 2, nowhere));
      journal.give_back(Journal::cost(next[0]->body().size(), 1));
      REQUIRE(!recover_blocks(journal, {}));
      CHECK(disk->bytes(segment_name(first.segment)).size() == next_block(first.end) + kFooterSize);
    }
    disk = killed(*disk);
    Journal journal(*disk, {.run = run_of(1), .limit_bytes = kLimit, .log = log});
    CHECK(journal.replayed() == 1);
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
    CHECK(damaged == 0);
  }

  TEST_CASE("journal room: events come in order out of a directory that was removed, synced or not") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    put_on_disk(journal, hall.block(), 1);
    const Block::Owner unsynced = hall.block();
    const Journal::Place place = write_only(journal, unsynced, 2);
    unsynced->settle_in(place.segment);
    Block* const raw = unsynced.get();
    disk.remove_directory();
    REQUIRE(journal.sync());
    REQUIRE(!recover_blocks(journal, {&raw, 1}));
    CHECK(rest_of(journal, hall.memory) == Sequences{1, 2});
  }

  TEST_CASE("journal room: of a tail that was settled nothing is missed from what stands before it") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    {
      Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      put_on_disk(journal, hall.block(3), 1);
      const Journal::Place tail = write_only(journal, hall.block(), 4);
      journal.settle(tail.segment, 4, 1);
      REQUIRE(!journal.write_settles());
    }
    for (std::uint64_t life = 1; life < 4; ++life) {
      disk = killed(*disk);
      Journal journal(*disk, {.run = run_of(life), .limit_bytes = kLimit, .log = {}});
      CHECK(journal.replayed() == 3);
      CHECK(rest_of(journal, hall.memory) == Sequences{1, 2, 3});
      journal.settle(1, 1, 2);  // in memory alone
      journal.maintain();
      CHECK(disk->bytes_if_there(segment_name(1)));
    }
  }

  TEST_CASE("journal room: with as many segments as it may have a journal takes nothing, and does when they are gone") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    const std::uint64_t limit = 16 * kLimit;
    std::uint64_t life = 0;
    bool full = false;
    for (; life < 400; ++life) {
      {
        Journal journal(*disk, {.run = run_of(life), .limit_bytes = limit, .log = {}, .most_left = 20});
        if (takes(journal)) {
          put_on_disk(journal, hall.block(), 1);
        } else {
          full = true;
        }
      }
      disk = killed(*disk);
      if (full) break;
    }
    CHECK(life == Journal::most_segments(limit) + 20 - 1);
    std::size_t told = 0;
    const LogHook log = [&told](LogLevel, std::string_view line) {
      told += line.starts_with("the journal has as many segments as it may have") ? 1U : 0U;
    };
    Journal journal(*disk, {.run = run_of(life), .limit_bytes = limit, .log = log, .most_left = 20});
    CHECK(told == 1);
    CHECK_FALSE(takes(journal));
    CHECK(journal.bytes() < limit / 2);  // it is not for want of bytes
    std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
    Journal::Backlog backlog;
    for (;;) {
      journal.read_backlog(1, 4096, buffers_of(hall.memory), backlog);
      if (backlog.events.empty()) break;
      taken.emplace_back(backlog.segment, backlog.events.front().sequence);
      journal.fed_backlog(backlog);
    }
    CHECK(taken.size() == life);
    for (const auto& [segment, sequence] : taken) journal.settle(segment, sequence, 1);
    journal.maintain();
    CHECK(takes(journal));
  }

  TEST_CASE("journal room: what is finished is not left behind by copies, to come once more before them") {
    Hall hall;
    auto disk = std::make_unique<MemoryDisk>(1);
    {
      Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      hold_the_first(hall, journal);
      disk->end_at(model::End::kill, Instant::before_unlink);
      journal.maintain();
      REQUIRE(disk->ended());
    }
    disk = disk->reboot();
    Journal journal(*disk, {.run = run_of(1), .limit_bytes = kLimit, .log = {}});
    CHECK(rest_of(journal, hall.memory).front() == 5);
  }

  TEST_CASE("journal room: what is finished is not left behind by what is moved out of a segment that failed") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      INFO("seed ", seed);
      Hall hall;
      auto disk = std::make_unique<MemoryDisk>(seed);
      {
        Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
        const Block::Owner block = hall.block(3);
        const Journal::Place place = write_only(journal, block, 1);
        block->settle_in(place.segment);
        journal.show(place);
        journal.settle(place.segment, 2, 1);
        disk->fail({.call = Call::write, .where = is_segment});
        std::vector<Block::Owner> fails(1);
        fails[0] = hall.block();
        Journal::Place nowhere;
        REQUIRE(commit(journal, fails, 4, nowhere));
        disk->end_at(model::End::power_cut, Instant::after_copy);
        Block* const unsynced = block.get();
        CHECK(recover_blocks(journal, {&unsynced, 1}));
        REQUIRE(disk->ended());
      }
      disk = disk->reboot();
      Journal journal(*disk, {.run = run_of(1), .limit_bytes = kLimit, .log = {}});
      const Sequences rest = rest_of(journal, hall.memory);
      CHECK(std::ranges::is_sorted(rest));
      CHECK(std::ranges::count_if(rest, [](std::uint64_t sequence) { return sequence == 1 || sequence == 3; }) == 2);
    }
  }

  TEST_CASE("journal room: while settles are being synced nothing is copied forward, and it is not forgotten") {
    Hall hall;
    MemoryDisk disk(1);
    Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
    hold_the_first(hall, journal);
    std::vector<Journal::SettleSync> dirty;
    REQUIRE_FALSE(journal.begin_settle_sync(dirty));
    REQUIRE(dirty.size() == 1);
    const std::uint64_t copies = disk.passed(Instant::after_copy);
    journal.maintain();
    CHECK(disk.passed(Instant::after_copy) == copies);
    for (Journal::SettleSync& one : dirty) Journal::sync_settled(one);
    REQUIRE_FALSE(journal.end_settle_sync(dirty));
    journal.maintain();
    CHECK(disk.passed(Instant::after_copy) == copies + 1);
  }

  TEST_CASE(
      "journal room: while events cannot be copied forward it is tried more and more rarely, and never forgotten") {
    Hall hall;
    MemoryDisk disk(1);
    Clock::time_point now{};
    std::size_t told = 0;
    Journal journal(disk, {.run = {},
                           .limit_bytes = kLimit,
                           .log =
                               [&told](LogLevel, std::string_view line) {
                                 told += line.starts_with("unfinished events could not") ? 1U : 0U;
                               },
                           .now = [&now] { return now; }});
    std::uint64_t next = 1;
    const std::size_t bytes = journal.segment_bytes() / 12;
    while (takes(journal)) {
      if (journal.try_reserve(Journal::cost(bytes + 100, 1)) != Journal::Room::reserved) break;
      journal.give_back(Journal::cost(bytes + 100, 1));
      const Journal::Place place = put_on_disk(journal, large(hall, bytes), next++);
      journal.show(place);
      const Sequences fed = rest_of(journal, hall.memory);
      REQUIRE(fed.size() == 1);
      if (fed.front() % 8 != 0) journal.settle(place.segment, fed.front(), 1);  // so that each segment is held
    }
    const auto refuse = [&] { CHECK(journal.try_reserve(kLimit / 2) == Journal::Room::full); };
    const auto is_draft_of = [](std::string_view name) { return is_draft(name); };
    disk.fail({.call = Call::create, .error = std::errc::no_space_on_device, .lasts = true, .where = is_draft_of});
    const std::uint64_t created = disk.calls(Call::create);
    // A minute under a client that never gives up.
    for (const auto end = now + 60s; now < end; now += 10ms) {
      refuse();
      journal.maintain();
    }
    const std::uint64_t attempts = disk.calls(Call::create) - created;
    CHECK(attempts >= 12);  // 5 s between two of them at the most
    CHECK(attempts <= 24);
    CHECK(told <= 24);

    // Who was refused once, and waits, need not ask again.
    disk.heal();
    CHECK_FALSE(journal.has_room(bytes * 12));
    now += 5s;
    journal.maintain();
    CHECK(journal.has_room(bytes * 12));
  }

  TEST_CASE(
      "journal room: events keep their order over a restart though some were copied out of segments around others") {
    Hall hall;
    MemoryDisk disk(1);
    Sequences left;
    {
      Journal journal(disk, {.run = {}, .limit_bytes = kLimit, .log = {}});
      std::uint64_t next = 1;
      // Segments of ten events each; what is left of every third one is much.
      const std::size_t bytes = journal.segment_bytes() / 12;
      for (int i = 0; takes(journal) && journal.try_reserve(bytes) == Journal::Room::reserved; ++i) {
        journal.give_back(bytes);
        const Journal::Place place = put_on_disk(journal, large(hall, bytes), next++);
        journal.show(place);
        const Sequences fed = rest_of(journal, hall.memory);
        REQUIRE(fed.size() == 1);
        if (place.segment % 3 == 0 || fed.front() % 10 == 0) {
          left.push_back(fed.front());
        } else {
          journal.settle(place.segment, fed.front(), 1);
        }
      }
      REQUIRE(!journal.sync_settles());
      const std::size_t files = disk.names().size();
      for (int i = 0; i < 10; ++i) {
        static_cast<void>(journal.try_reserve(kLimit / 2));  // somebody is refused
        journal.maintain();
      }
      CHECK(disk.names().size() < files);  // some were copied
      REQUIRE(!journal.close());
    }
    Journal journal(disk, {.run = run_of(1), .limit_bytes = kLimit, .log = {}});
    CHECK(rest_of(journal, hall.memory) == left);
  }
}
