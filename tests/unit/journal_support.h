// A journal over the disk in memory, without its committer: blocks are put on disk and read back by the calls that its
// threads would make. One thread; what must succeed and does not fails the test.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "admission/admission.h"
#include "backlog/block_records.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "model/memory_disk.h"
#include "queue/block.h"
#include "queue/block_memory.h"

namespace journal_support {

using namespace sluice;
using namespace sluice::journal;
using namespace sluice::backlog;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using model::Call;
using model::MemoryDisk;
using Sequences = std::vector<std::uint64_t>;

inline constexpr std::uint64_t kLimit = std::uint64_t{1} << 20U;

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

inline bool is_segment(std::string_view name) {
  const auto parsed = parse_name(name);
  return parsed && parsed->what == FileName::What::segment;
}

// A block of these events, as the way in would make it.
inline Block::Owner block_of(BlockMemory& memory, Admission& door, std::span<const Event> events,
                             const Block::Layout& layout) {
  auto ticket = door.try_admit(events.size(), Block::bytes_for(events, layout));
  return Block::make(memory, events, std::get<Ticket>(std::move(ticket)), layout);
}

// The room of those who are not what a test is about.
struct Hall {
  Admission door{1024, std::size_t{1} << 20U};
  BlockMemory memory{std::size_t{1} << 20U};
  Block::Owner block(std::size_t events = 1) {
    const std::vector<Event> some(events, Event("x"));
    return block_of(memory, door, some, {.frame = kEventFrame, .watched = true});
  }
};

// Commits them, synced. The error is the disk's.
inline std::error_code commit(Journal& journal, std::span<const Block::Owner> blocks, std::uint64_t first,
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
  return commit_blocks(journal, raw, reserved, true, place);
}

// The same for one block, which must succeed.
inline Journal::Place put_on_disk(Journal& journal, const Block::Owner& block, std::uint64_t first) {
  Journal::Place place;
  REQUIRE(!commit(journal, {&block, 1}, first, place));
  return place;
}

// What the feeder would bring from here on.
inline Sequences rest_of(Journal& journal, BlockMemory& memory) {
  Sequences all;
  Journal::Backlog backlog;
  for (;;) {
    journal.read_backlog(1, 4096, buffers_of(memory), backlog);
    if (backlog.events.empty()) return all;
    all.push_back(backlog.events.front().sequence);
    journal.fed_backlog(backlog);
  }
}

inline std::unique_ptr<MemoryDisk> killed(MemoryDisk& disk) {
  disk.kill();
  return disk.reboot();
}

}  // namespace journal_support
