// How a block lies in memory: Block, Entry × count, then content types and payloads, each event's behind the last
// one's.
#include "queue/block.h"

#include <time.h>

#include <cstring>
#include <limits>
#include <new>

namespace sluice {

namespace {

constexpr std::size_t kMostType = 255;
// The allocator's own header, and an element of the queue with its share of the queue's bookkeeping.
constexpr std::size_t kAllocatorBytes = 16;
constexpr std::size_t kSliceBytes = sizeof(Slice) + 8;

// Events of one request mostly share one content type: it is stored once for each run of equal ones.
bool same_type(std::span<const Event> events, std::size_t i) noexcept {
  if (i == 0) return false;
  const std::string_view type = events[i].content_type;
  const std::string_view last = events[i - 1].content_type;
  // Mostly even the same bytes: comparing them would cost as much as copying a small payload.
  return type.size() == last.size() && (type.data() == last.data() || type == last);
}

std::size_t allocation_for(std::span<const Event> events, std::size_t entry) noexcept {
  std::size_t bytes = sizeof(Block) + events.size() * entry;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i].content_type.size() > kMostType) return std::numeric_limits<std::size_t>::max();
    bytes += events[i].payload.size() + (same_type(events, i) ? 0 : events[i].content_type.size());
  }
  return bytes <= std::numeric_limits<std::uint32_t>::max() ? bytes : std::numeric_limits<std::size_t>::max();
}

}  // namespace

std::size_t Block::bytes_for(std::span<const Event> events) noexcept {
  const std::size_t bytes = allocation_for(events, sizeof(Entry));
  if (bytes == std::numeric_limits<std::size_t>::max()) return bytes;
  const std::size_t slices = (events.size() + Slice::kMost - 1) / Slice::kMost;
  return bytes + kAllocatorBytes + slices * kSliceBytes;
}

Block::Owner Block::make(std::span<const Event> events, Ticket ticket) {
  void* const room = ::operator new(allocation_for(events, sizeof(Entry)));
  Owner block(new (room) Block(std::move(ticket), static_cast<std::uint32_t>(events.size())));
  block->ticket_.hand_over_events();

  auto* const base = static_cast<std::byte*>(room);
  std::size_t at = sizeof(Block) + events.size() * sizeof(Entry);
  const auto put = [&](const void* from, std::size_t size) {
    if (size > 0) std::memcpy(base + at, from, size);
    const auto begin = static_cast<std::uint32_t>(at);
    at += size;
    return begin;
  };
  Entry* const entries = block->entries();
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    const std::uint32_t type_at =
        same_type(events, i) ? entries[i - 1].type_at : put(event.content_type.data(), event.content_type.size());
    const std::uint32_t payload_at = put(event.payload.data(), event.payload.size());
    new (entries + i) Entry{payload_at, static_cast<std::uint32_t>(event.payload.size()), type_at,
                            static_cast<std::uint32_t>(event.content_type.size())};
  }
  return block;
}

std::chrono::system_clock::time_point Block::coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::chrono::system_clock::time_point(std::chrono::seconds{now.tv_sec} +
                                               std::chrono::nanoseconds{now.tv_nsec});
}

void Block::destroy(Ticket& freed) noexcept {
  // The bytes return only once the memory has: the ticket leaves the block first.
  Ticket bytes = std::move(ticket_);
  this->~Block();
  ::operator delete(this);
  freed.absorb(std::move(bytes));
}

}  // namespace sluice
