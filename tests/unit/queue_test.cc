// Blocks and the queue that carries them: what an event looks like at its worker, when its block goes, and whom a push
// wakes. One thread but where workers sleep; a worker is known to sleep before it is to be woken.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "admission/admission.h"
#include "queue/block.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "unit/blocked.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kBytes = std::size_t{1} << 20U;

// A queue with its door. `lot`: more than any test pushes.
struct House {
  explicit House(std::size_t slice_events = Slice::kMaxEvents) : queue({}, 1000, slice_events) {}

  Block::Owner block(const std::vector<Event>& events, Block::Layout layout = {}) {
    auto ticket = door.try_admit(events.size(), Block::bytes_for(events, layout));
    REQUIRE(std::holds_alternative<Ticket>(ticket));
    Block::Owner made = Block::make(memory, events, std::get<Ticket>(std::move(ticket)), layout);
    made->ticket().hand_over_events();
    return made;
  }
  Block::Owner block(std::size_t events) { return block(std::vector<Event>(events, Event("x"))); }
  EventId push(std::size_t events) {
    Block::Owner made = block(events);
    EventId first;
    REQUIRE(queue.push(made, first) == EventQueue::Push::done);
    return first;
  }
  std::optional<Slice> pop() {
    Slice slice{};
    if (queue.try_pop({&slice, 1}) == 0) return std::nullopt;
    return slice;
  }
  void finish(const Slice& slice) {
    slice.block->release(slice.count);
    door.give_back_events(slice.count);
  }

  Admission door{1000, kBytes};
  BlockMemory memory{kBytes};
  EventQueue queue;
};

}  // namespace

TEST_SUITE("queue") {
  TEST_CASE("queue: the slices of a block contain each of its events once and in order") {
    House house;
    CHECK(house.push(130).sequence == 1);
    CHECK(house.push(1).sequence == 131);
    std::vector<std::uint64_t> sequences;
    std::vector<std::uint32_t> counts;
    while (const auto slice = house.pop()) {
      counts.push_back(slice->count);
      for (std::uint32_t i = 0; i < slice->count; ++i) {
        REQUIRE(slice->first + i < slice->block->count());
        sequences.push_back(slice->block->delivery(slice->first + i).id.sequence);
      }
      house.finish(*slice);
    }
    CHECK(counts == std::vector<std::uint32_t>{64, 64, 2, 1});
    REQUIRE(sequences.size() == 131);
    for (std::size_t i = 0; i < sequences.size(); ++i) CHECK(sequences[i] == i + 1);
    CHECK(house.door.events_out() == 0);
    CHECK(house.door.bytes_out() == 0);
  }

  TEST_CASE("queue: reserved ids are given to no other event, and a push with ids is not counted again") {
    House house;
    CHECK(house.push(2).sequence == 1);
    CHECK(house.queue.reserve_ids(5) == 3);
    CHECK(house.push(1).sequence == 8);
    Block::Owner numbered = house.block(5);
    numbered->assign_ids({}, 3);
    CHECK(house.queue.push_with_ids(numbered) == EventQueue::Push::done);
    CHECK(numbered == nullptr);
    CHECK(house.queue.accepted() == 3);
    CHECK(house.queue.size_approx() == 8);
  }

  TEST_CASE("queue: a closed queue pops nothing, takes nothing, and leaves the block to its owner") {
    House house;
    CHECK(house.push(2).sequence == 1);
    house.queue.close();
    CHECK_FALSE(house.pop());
    Block::Owner late = house.block(1);
    EventId first;
    CHECK(house.queue.push(late, first) == EventQueue::Push::closed);
    REQUIRE(late);
    CHECK(house.queue.push_with_ids(late) == EventQueue::Push::closed);
    REQUIRE(late);
    CHECK(house.queue.accepted() == 2);
    CHECK(house.queue.size_approx() == 2);
  }

  TEST_CASE("queue: its destructor gives back the bytes of the blocks left in it") {
    Admission door{1000, kBytes};
    BlockMemory memory{kBytes};
    {
      House house;
      CHECK(house.push(100).sequence == 1);
      std::optional<EventQueue> queue(std::in_place, RunId{}, 1000, 64);
      Block::Owner block = house.block(130);
      const std::size_t others = house.door.bytes_out() - block->ticket().bytes();
      EventId first;
      REQUIRE(queue->push(block, first) == EventQueue::Push::done);
      Slice slice{};
      REQUIRE(queue->try_pop({&slice, 1}) == 1);
      queue.reset();
      CHECK(house.door.bytes_out() > others);  // a worker holds some of it
      slice.block->release(slice.count);
      CHECK(house.door.bytes_out() == others);
    }
  }

  TEST_CASE("queue: a lingering worker goes on with new events, and returns at once when hurried, also the next time") {
    House house;
    bool goes_on = false;
    {
      test::Blocker lingers([&] { goes_on = house.queue.wait_linger(Clock::now() + 20s); });
      REQUIRE(lingers.waits());
      CHECK(house.push(1).sequence == 1);
      CHECK(lingers.ends());
    }
    CHECK(goes_on);
    house.finish(*house.pop());
    test::Blocker lingers([&] { goes_on = house.queue.wait_linger(Clock::now() + 20s); });
    REQUIRE(lingers.waits());
    house.queue.hurry();
    CHECK(lingers.ends());
    CHECK_FALSE(goes_on);
    CHECK_FALSE(house.queue.wait_linger(Clock::now() + 20s));
  }
}

TEST_SUITE("block") {
  TEST_CASE("block: its bytes are given back with its last event, not before and not twice") {
    House house;
    Block* const block = house.block(5).release();
    const std::size_t bytes = house.door.bytes_out();
    REQUIRE(bytes > 0);
    block->release(1);
    CHECK(block->references() == 4);
    block->hold();
    block->release(3);
    block->release(1);
    CHECK(house.door.bytes_out() == bytes);
    CHECK(block->references() == 1);
    Ticket freed;
    block->release(1, freed);
    CHECK(freed.bytes() == bytes);
    CHECK(house.door.bytes_out() == bytes);
    freed = Ticket();
    CHECK(house.door.bytes_out() == 0);
    CHECK(house.memory.idle() >= bytes / 2);  // and its memory lies idle
  }

  TEST_CASE("block: its watcher can hold it until its last event is released, and not after") {
    struct Watcher final : BlockWatcher {
      void forget(Block& block) noexcept override {
        ++forgotten;
        held = block.try_hold();
        pointing = block.references();
      }
      int forgotten = 0;
      bool held = true;
      std::uint32_t pointing = 1;
    } watcher;
    House house;
    Block* const block = house.block({Event("a"), Event("b")}, {.frame = 64, .watched = true}).release();
    block->watch().by = &watcher;
    CHECK(block->try_hold());
    block->release(2);
    CHECK(watcher.forgotten == 0);
    block->release(1);
    CHECK(watcher.forgotten == 1);
    CHECK_FALSE(watcher.held);
    CHECK(watcher.pointing == 0);
  }

  TEST_CASE("block: each event keeps its own payload and type, also where neighbours share one") {
    const std::vector<Event> events{Event("one", "a/b"), Event("two", "a/b"),  Event("", "c/d"),
                                    Event("four", ""),   Event("five", "a/b"), Event("six", "a/c")};
    for (const Block::Layout layout : {Block::Layout{}, Block::Layout{.frame = 64}, Block::Layout{.own_marks = true},
                                       Block::Layout{.frame = 64, .watched = true}}) {
      CAPTURE(layout.frame);
      House house;
      Block::Owner block = house.block(events, layout);
      block->assign_ids({}, 7);
      for (std::uint32_t i = 0; i < block->count(); ++i) {
        if (layout.own_marks) block->mark(i, 100 + 2 * i, {});
        const Delivery seen = block->delivery(i);
        CHECK(seen.text() ==
              std::string_view(reinterpret_cast<const char*>(events[i].payload.data()), events[i].payload.size()));
        CHECK(seen.content_type == events[i].content_type);
        CHECK(seen.id.sequence == (layout.own_marks ? 100 + 2 * i : 7 + i));
        CHECK(seen.attempt == 1);
        CHECK(block->sequence(i) == seen.id.sequence);
        if (layout.frame != 0) CHECK(block->frame_at(i) % 8 == 0);
      }
    }
  }

  TEST_CASE("block: the charge covers its allocation, and what it cannot address is never admitted") {
    const std::string long_type(256, 't');
    CHECK(Block::bytes_for(std::vector<Event>{Event("x", long_type)}, {}) == SIZE_MAX);
    CHECK(Block::bytes_for(std::vector<Event>{Event("x", std::string_view(long_type).substr(1))}, {}) < 2048);
    const std::string payload(1000, 'x');
    for (const std::size_t n : {1, 64, 65, 1000}) {
      const std::vector<Event> events(n, Event(payload, "a/b"));
      const std::size_t slices = (n + Slice::kMaxEvents - 1) / Slice::kMaxEvents;
      CHECK(Block::bytes_for(events, {}) >= sizeof(Block) + n * (16 + 1000) + 3 + slices * sizeof(Slice));
      CHECK(Block::bytes_for(events, {.frame = 64}) >= sizeof(Block) + n * (16 + 64 + 1003) + slices * sizeof(Slice));
      CHECK(Block::bytes_for_adopted(300'000, n, {.own_marks = true}) >=
            300'000 + sizeof(Block) + n * 32 + slices * sizeof(Slice));
    }
  }

  TEST_CASE("block: its events are those of the buffer it adopts, and the buffer is freed with the block") {
    House house;
    constexpr std::size_t kSize = 4096;
    BlockMemory::Buffer piece = BlockMemory::allocate_buffer(&house.memory, kSize);
    const std::byte* const place = piece.get();
    const std::string text = "payload" + std::string("text/plain");
    std::memcpy(piece.get() + 100, text.data(), text.size());
    const std::string_view lies(reinterpret_cast<const char*>(piece.get()) + 100, text.size());
    const std::vector<Event> events{Event(lies.substr(0, 7), lies.substr(7))};
    const Block::Layout layout{.own_marks = true};
    const std::size_t bytes = Block::bytes_for_adopted(kSize, 1, layout);
    auto ticket = house.door.try_admit(1, bytes);
    Block::Owner block =
        Block::adopt(house.memory, std::move(piece), events, std::get<Ticket>(std::move(ticket)), layout);
    CHECK(block->delivery(0).text().data() == lies.data());
    CHECK(block->delivery(0).text() == "payload");
    CHECK(block->delivery(0).content_type == "text/plain");
    CHECK(house.door.bytes_out() == bytes);
    block.reset();
    CHECK(BlockMemory::allocate_buffer(&house.memory, kSize).get() == place);
    CHECK(house.door.bytes_out() == 0);
  }
}
