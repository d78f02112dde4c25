// A start on a disk that is in trouble: full, read-only, away, or with less room than a segment. Each test is what was
// lost, or stood still, though the disk could have been read, or written a little. Over the disk in memory.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "journal/pace.h"
#include "journal_support.h"
#include "model/tracker_on_disk.h"
#include "sluice/host.h"

using namespace journal_support;

namespace {

constexpr std::uint64_t kLargeLimit = 64 * kLimit;  // segments of 8 MiB

Journal::Config config(std::uint64_t limit = kLimit) { return {.run = {}, .limit_bytes = limit, .log = {}}; }

// Whose names are the journal's: all of them here.
std::uint64_t segments_on(const MemoryDisk& disk) {
  std::uint64_t count = 0;
  for (const std::string& name : disk.names()) count += is_segment(name) ? 1U : 0U;
  return count;
}

Block::Owner large_block(Hall& hall, std::size_t bytes) {
  const std::string payload(bytes, 'x');
  return block_of(hall.memory, hall.door, std::vector{Event(payload)}, {.frame = kEventFrame});
}

// Events 1 to 3, each in a segment of its own, sealed by an orderly end.
std::unique_ptr<MemoryDisk> with_a_backlog() {
  MemoryDisk disk(1);
  Hall hall;
  {
    Journal journal(disk, config());
    for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
      const Block::Owner block = large_block(hall, journal.segment_bytes() / 2 + 1);
      journal.show(put_on_disk(journal, block, sequence));
    }
    REQUIRE(!journal.close());
  }
  REQUIRE(segments_on(disk) == 3);
  return killed(disk);
}

// Five requests of two events, written and not synced, but for the first; then the process is gone. With a failed sync
// before that the kernel calls clean what perhaps no disk has.
std::unique_ptr<MemoryDisk> with_a_tail(std::uint64_t seed, bool failed_sync) {
  MemoryDisk disk(seed);
  Hall hall;
  Journal journal(disk, config());
  const std::string payload(3000, 'x');  // each has blocks of its own
  for (std::uint64_t sequence = 1; sequence <= 9; sequence += 2) {
    const std::vector<Event> two(2, Event(payload));
    const Block::Owner block = block_of(hall.memory, hall.door, two, {.frame = kEventFrame});
    block->number({}, sequence);
    Block* const raw = block.get();
    const std::uint64_t cost = Journal::cost(block->body().size(), 2);
    REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
    Journal::Place place;
    REQUIRE(!commit_blocks(journal, {&raw, 1}, cost, sequence == 1, place));
  }
  if (failed_sync) {
    disk.fail({.call = Call::sync, .where = is_segment});
    REQUIRE(journal.sync());
  }
  return killed(disk);
}

void settle_all(Journal& journal, std::uint64_t first_segment) {
  for (std::uint64_t i = 0; i < 3; ++i) journal.settle(first_segment + i, i + 1, 1);
}

struct Read {
  Sequences sequences;
  std::uint64_t lost = 0;
};
Read read_all(Journal& journal, BlockMemory& memory) {
  Read read;
  Journal::Backlog backlog;
  for (;;) {
    backlog.lost = 0;
    journal.read_backlog(1, 4096, buffers_of(memory), backlog);
    read.lost += backlog.lost;
    if (backlog.events.empty()) return read;
    read.sequences.push_back(backlog.events.front().sequence);
    journal.fed_backlog(backlog);
  }
}

// A tracker whose sink takes nothing until it is opened; its committer tries again every few milliseconds.
struct Delivering {
  explicit Delivering(const MemoryDisk& disk, std::chrono::milliseconds sync_every = 3ms) {
    Options options;
    options.workers = 1;
    options.ack = Ack::synced;
    options.journal_bytes = kLimit;
    options.queue_bytes = kLimit / 4;
    options.retry_min = options.retry_max = 1ms;
    options.log = [](LogLevel, std::string_view) {};
    const Pace quick{
        .settle_every = 1ms, .sync_every = sync_every, .look_every = 2ms, .least_backoff = 1ms, .most_backoff = 8ms};
    const auto factory = [this](const SinkContext&) { return std::make_unique<Gated>(*this); };
    tracker = TrackerOnDisk::make(options, factory, disk.same(), quick);
  }

  // Delivering frees the disk; then events are taken, and at the end all is well.
  void check_recovers() {
    open.store(true);
    CHECK(eventually([&] { return delivered.load() == 3; }));
    CHECK(eventually([&] { return !Host(*tracker).disk_failed(); }));
    CHECK(tracker->track(Event("x")) == Admit::accepted);
    CHECK(eventually([&] { return delivered.load() == 4; }));
    const Report report = tracker->shutdown(10s);
    CHECK(report.reason == Reason::drained);
    CHECK_FALSE(report.disk_failed);
    CHECK(report.books.accepted == 4);
    CHECK(report.books.delivered == 4);
  }

  struct Gated final : Sink {
    explicit Gated(Delivering& its_life) : life(its_life) {}
    void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token) override {
      if (!life.open.load()) return;  // to be tried again
      for (std::size_t i = 0; i < batch.size(); ++i) verdicts[i] = Verdict::delivered;
      life.delivered += batch.size();
    }
    Delivering& life;
  };

  std::atomic<bool> open{false};
  std::atomic<std::size_t> delivered{0};
  std::unique_ptr<Tracker> tracker;  // goes first
};

}  // namespace

TEST_SUITE("journal") {
  TEST_CASE("journal start: a backlog that fills its disk is fed, that frees the disk, and events are taken again") {
    const auto disk = with_a_backlog();
    disk->set_capacity(disk->used());
    Hall hall;
    Journal journal(*disk, config());
    CHECK(journal.failed());
    CHECK(journal.cause() == "begin segment-000004: No space left on device");
    CHECK(journal.replayed() == 3);
    CHECK(rest_of(journal, hall.memory) == Sequences{1, 2, 3});
    CHECK(recover_blocks(journal, {}));  // nothing is finished yet

    settle_all(journal, 1);
    journal.maintain();
    CHECK(segments_on(*disk) == 0);
    REQUIRE(!recover_blocks(journal, {}));
    CHECK_FALSE(journal.failed());
    journal.show(put_on_disk(journal, hall.block(), 1));
    CHECK(rest_of(journal, hall.memory) == Sequences{1});
    CHECK(journal.reserved() == 0);
  }

  TEST_CASE("journal start: a backlog on a disk that became read-only is fed; what is delivered then comes once more") {
    auto disk = with_a_backlog();
    disk->make_read_only();
    Hall hall;
    {
      Journal journal(*disk, config());
      CHECK(journal.failed());
      CHECK(rest_of(journal, hall.memory) == Sequences{1, 2, 3});
      settle_all(journal, 1);
      CHECK(journal.write_settles());
      journal.maintain();
      CHECK(segments_on(*disk) == 3);
      CHECK(journal.close());
      CHECK(journal.has_unwritten_settles());
    }
    disk = killed(*disk);
    Journal journal(*disk, config());
    CHECK_FALSE(journal.failed());
    CHECK(rest_of(journal, hall.memory) == Sequences{1, 2, 3});
  }

  TEST_CASE("journal start: what was delivered from a read-only disk is settled as soon as it can be written") {
    auto disk = with_a_backlog();
    disk->make_read_only();
    Hall hall;
    {
      Journal journal(*disk, config());
      REQUIRE(rest_of(journal, hall.memory).size() == 3);
      journal.settle(1, 1, 1);
      journal.settle(3, 3, 1);
      CHECK(journal.write_settles());
      disk->heal();
      CHECK(!recover_blocks(journal, {}));
      CHECK(!journal.sync_settles());
      CHECK(!journal.close());
    }
    disk = killed(*disk);
    Journal journal(*disk, config());
    CHECK(rest_of(journal, hall.memory) == Sequences{2});
  }

  TEST_CASE("journal start: a settled file that cannot be made costs the start nothing, and is made later") {
    auto disk = with_a_backlog();
    REQUIRE(!disk->unlink(settled_name(2)));
    disk->fail({.call = Call::create, .error = std::errc::no_space_on_device, .lasts = true});
    Hall hall;
    {
      Journal journal(*disk, config());
      CHECK(rest_of(journal, hall.memory) == Sequences{1, 2, 3});
      journal.settle(2, 2, 1);
      CHECK(journal.sync_settles());
      disk->heal();
      CHECK(!journal.sync_settles());
    }
    disk = killed(*disk);
    Journal journal(*disk, config());
    CHECK(rest_of(journal, hall.memory) == Sequences{1, 3});
  }

  TEST_CASE("journal start: requests that a power cut could take are whole on a full disk, whatever it cuts after") {
    std::uint64_t fed = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      INFO("seed ", seed);
      auto disk = with_a_tail(seed, seed % 2 == 0);
      // So full that what is cut off the segment once it is whole makes no room; or that it does.
      const bool makes_room = seed % 3 == 0;
      disk->set_capacity(makes_room ? disk->used() : 0);
      Hall hall;
      Sequences delivered;
      {
        Journal journal(*disk, config());
        if (!makes_room) REQUIRE(journal.failed());
        delivered = rest_of(journal, hall.memory);
        CHECK(journal.replayed() == delivered.size());
      }
      fed += delivered.size();
      disk->cut();
      disk = disk->reboot();
      disk->heal();
      Journal journal(*disk, config());
      CHECK(rest_of(journal, hall.memory) == delivered);
    }
    CHECK(fed > 30 * 10);  // all of those whose pages no sync has thrown away
  }

  TEST_CASE("journal start: what a power cut could take is not fed from a read-only disk, and is once it was written") {
    const auto disk = with_a_tail(1, false);
    disk->make_read_only();
    Hall hall;
    Journal journal(*disk, config());
    CHECK(journal.failed());
    CHECK(journal.replayed() == 10);
    CHECK(rest_of(journal, hall.memory) == Sequences{1, 2});
    CHECK(recover_blocks(journal, {}));
    CHECK(rest_of(journal, hall.memory).empty());

    disk->heal();
    REQUIRE(!recover_blocks(journal, {}));
    CHECK(rest_of(journal, hall.memory) == Sequences{3, 4, 5, 6, 7, 8, 9, 10});
  }

  TEST_CASE("journal start: what is gone when it can at last be written anew is lost, and the rest whole") {
    std::uint64_t lost = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      INFO("seed ", seed);
      const auto disk = with_a_tail(seed, true);
      disk->make_read_only();
      Hall hall;
      Journal journal(*disk, config());
      const Read before = read_all(journal, hall.memory);
      disk->heal();
      REQUIRE(!recover_blocks(journal, {}));
      const Read after = read_all(journal, hall.memory);
      CHECK(after.sequences.size() % 2 == 0);
      CHECK(before.sequences.size() + before.lost + after.sequences.size() + after.lost == journal.replayed());
      lost += before.lost + after.lost;
    }
    CHECK(lost > 0);
  }

  TEST_CASE("journal start: a tail that is written anew after its segment was fed comes by itself, once") {
    const auto disk = with_a_tail(1, false);
    disk->make_read_only();
    Hall hall;
    Journal journal(*disk, config());
    REQUIRE(rest_of(journal, hall.memory) == Sequences{1, 2});
    journal.settle(1, 1, 2);
    disk->heal();
    disk->set_capacity(disk->used());    // no room for a copy
    CHECK(recover_blocks(journal, {}));  // nor for a new segment
    CHECK(rest_of(journal, hall.memory) == Sequences{3, 4, 5, 6, 7, 8, 9, 10});
    journal.settle(1, 3, 8);
    journal.maintain();
    CHECK(segments_on(*disk) == 0);
    CHECK(!recover_blocks(journal, {}));
    CHECK(rest_of(journal, hall.memory).empty());
  }

  TEST_CASE("journal start: a disk that was away is taken over when it is back, and counted before it is fed") {
    for (const Call call : {Call::hold, Call::list, Call::open, Call::read, Call::stat}) {
      INFO("call ", static_cast<int>(call));
      const auto disk = with_a_backlog();
      disk->fail({.call = call, .lasts = true});
      Hall hall;
      std::vector<std::uint64_t> told;
      Journal* made = nullptr;
      bool counted_first = true;
      Journal journal(*disk, {.run = {}, .limit_bytes = kLimit, .log = {}, .taken_over = [&](std::uint64_t events) {
                                told.push_back(events);
                                counted_first = made == nullptr || made->caught_up();
                              }});
      made = &journal;
      CHECK(journal.failed());
      CHECK(journal.replayed() == 0);
      CHECK(rest_of(journal, hall.memory).empty());
      CHECK(recover_blocks(journal, {}));
      CHECK(told.empty());
      std::uint64_t segment = 0;
      const std::array<Record, 1> loose{};
      CHECK(journal.spill(loose, segment));  // beside what nobody has read nothing is written

      disk->heal();
      REQUIRE(!recover_blocks(journal, {}));
      CHECK(told == Sequences{3});
      CHECK(counted_first);
      CHECK(rest_of(journal, hall.memory) == Sequences{1, 2, 3});
      const Journal::Place place = put_on_disk(journal, hall.block(), 1);
      CHECK(place.segment == 4);
    }
  }

  TEST_CASE("journal start: a journal of a newer version is refused, also on a disk that is read-only") {
    const auto disk = with_a_backlog();
    std::string bytes = disk->bytes(segment_name(1));
    Header header = *decode_header(std::as_bytes(std::span(bytes)));
    header.version = kVersion + 1;
    const HeaderBytes newer = encode(header);
    std::string text(reinterpret_cast<const char*>(newer.data()), newer.size());
    disk->replace(segment_name(1), bytes.replace(0, text.size(), text));
    disk->make_read_only();
    CHECK_THROWS_AS(Journal(*disk, config()), StartError);
  }

  TEST_CASE(
      "journal: a disk with less room than a segment is used, until it is full; a larger one is begun when it can") {
    MemoryDisk disk(1);
    Hall hall;
    disk.set_capacity(6 * kLimit);
    Journal journal(disk, config(kLargeLimit));
    REQUIRE_FALSE(journal.failed());
    REQUIRE(journal.segment_bytes() == 8 * kLimit);
    std::uint64_t sequence = 1;
    std::optional<std::error_code> error;
    while (!error && sequence < 100) {
      const std::array<Block::Owner, 1> block{large_block(hall, 100'000)};
      Journal::Place place;
      if (const auto failed = commit(journal, block, sequence, place)) {
        error = failed;
      } else {
        journal.show(place);
        ++sequence;
      }
    }
    REQUIRE(error);
    CHECK(is_full(*error));
    CHECK(disk.used() > 4 * kLimit);  // all but what is less than the least segment, and ends of segments
    CHECK(rest_of(journal, hall.memory).size() == sequence - 1);

    disk.set_capacity(64 * kLimit);
    REQUIRE(!recover_blocks(journal, {}));
    const Journal::Place place = put_on_disk(journal, hall.block(), sequence + 1);
    CHECK(disk.bytes(segment_name(place.segment)).size() == journal.segment_bytes());
  }

  TEST_CASE(
      "journal: an attempt at a segment too large does not keep the room that the smaller one leaves to settles") {
    // As a disk does that has granted a part of what it was asked for.
    for (const std::uint64_t room : {kLimit + 16384, 2 * kLimit}) {
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed ", seed, " room ", room);
        MemoryDisk disk(seed);
        disk.set_capacity(room);
        Journal journal(disk, config(kLargeLimit));
        CHECK_FALSE(journal.failed());
        CHECK(disk.used() <= kLimit + 16384);  // the least segment, and its settled file
      }
    }
  }

  TEST_CASE("journal: what was only written when the disk has no room for settles any more is fed all the same") {
    MemoryDisk disk(1);
    Hall hall;
    Journal journal(disk, config());
    std::vector<Block::Owner> blocks;
    std::error_code error;
    disk.set_capacity(disk.used());
    std::uint64_t sequence = 1;
    while (!error && sequence < 2000) {
      const std::vector<Event> some(16, Event("x"));
      blocks.push_back(block_of(hall.memory, hall.door, some, {.frame = kEventFrame}));
      blocks.back()->number({}, sequence);
      Block* const raw = blocks.back().get();
      const std::uint64_t cost = Journal::cost(raw->body().size(), 16);
      REQUIRE(journal.try_reserve(cost) == Journal::Room::reserved);
      Journal::Place place;
      error = commit_blocks(journal, {&raw, 1}, cost, false, place);
      if (error) break;
      raw->settle_in(place.segment);
      journal.show(place);
      sequence += 16;
    }
    REQUIRE(is_full(error));
    CHECK(rest_of(journal, hall.memory).size() == sequence - 1);
    // Nor does it have to be copied.
    blocks.pop_back();
    std::vector<Block*> unsynced;
    for (const Block::Owner& block : blocks) unsynced.push_back(block.get());
    disk.heal();
    const std::uint64_t created = disk.calls(Call::create);
    REQUIRE(!recover_blocks(journal, unsynced));
    CHECK(disk.calls(Call::create) == created + 2);  // the new segment and its settled file
  }

  TEST_CASE("journal start: a tracker on a full disk delivers, refuses, takes events again, and nobody asks it to") {
    const auto disk = with_a_backlog();
    disk->set_capacity(disk->used());
    Delivering life(*disk);
    CHECK(Host(*life.tracker).disk_failed());
    CHECK(life.tracker->books().replayed == 3);
    CHECK(life.tracker->track(Event("x")) == Admit::failed);
    life.check_recovers();
  }

  TEST_CASE("journal start: the backlog of a disk that comes late, and is full, is delivered, and nobody asks for it") {
    const auto disk = with_a_backlog();
    disk->set_capacity(disk->used());
    std::atomic<bool> away{true};
    disk->fail({.call = Call::list, .lasts = true, .where = [&](std::string_view) { return away.load(); }});
    Delivering life(*disk, 1h);  // nor does anybody look by chance whether files are there
    CHECK(Host(*life.tracker).disk_failed());
    CHECK(life.tracker->books().replayed == 0);
    away.store(false);
    CHECK(eventually([&] { return life.tracker->books().replayed == 3; }));
    life.check_recovers();
  }
}
