// A block in memory: Block, Entry × count, then, if the layout has them, Mark × count and one bit per event; then each
// event's content type and payload, with a frame before them if the layout has one. In a block that adopted a buffer,
// types and payloads lie anywhere in that buffer.
#include "queue/block.h"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <new>

namespace sluice {

namespace {

constexpr std::size_t kMaxType = 255;
constexpr std::size_t kAlign = 8;

std::size_t aligned(std::size_t size) noexcept { return (size + kAlign - 1) & ~(kAlign - 1); }

// The allocator's header, and an element of the queue with its share of the queue's bookkeeping.
constexpr std::size_t kAllocatorBytes = 16;
constexpr std::size_t kSliceBytes = sizeof(Slice) + 8;

// Events of one request mostly share one content type, so it is stored once per run of equal ones.
bool same_type(std::span<const Event> events, std::size_t i) noexcept {
  if (i == 0) return false;
  const std::string_view type = events[i].content_type;
  const std::string_view last = events[i - 1].content_type;
  // Mostly the same pointer; comparing the bytes costs as much as copying a small payload.
  return type.size() == last.size() && (type.data() == last.data() || type == last);
}

}  // namespace

std::size_t Block::table_bytes(std::size_t events, Layout layout) noexcept {
  return sizeof(Block) + events * (sizeof(Entry) + (layout.own_marks ? sizeof(Mark) : 0)) +
         (layout.watched ? (events + 63) / 64 * sizeof(std::uint64_t) : 0);
}

std::size_t Block::allocation_for(std::span<const Event> events, Layout layout) noexcept {
  std::size_t bytes = table_bytes(events.size(), layout);
  for (std::size_t i = 0; i < events.size(); ++i) {
    const std::size_t type = events[i].content_type.size();
    if (type > kMaxType) return std::numeric_limits<std::size_t>::max();
    if (layout.frame != 0) {
      bytes += layout.frame + aligned(type + events[i].payload.size());
    } else {
      bytes += events[i].payload.size() + (same_type(events, i) ? 0 : type);
    }
  }
  return bytes <= std::numeric_limits<std::uint32_t>::max() ? bytes : std::numeric_limits<std::size_t>::max();
}

std::size_t Block::bytes_for(std::span<const Event> events, Layout layout) noexcept {
  const std::size_t bytes = allocation_for(events, layout);
  return bytes == std::numeric_limits<std::size_t>::max() ? bytes
                                                          : BlockMemory::size_of(bytes) + overhead(events.size());
}

std::size_t Block::overhead(std::size_t events) noexcept {
  return kAllocatorBytes + (events + Slice::kMaxEvents - 1) / Slice::kMaxEvents * kSliceBytes;
}

std::size_t Block::bytes_for_adopted(std::size_t bytes, std::size_t events, Layout layout) noexcept {
  return BlockMemory::size_of(table_bytes(events, layout)) + overhead(events) + BlockMemory::size_of(bytes) +
         kAllocatorBytes;
}

std::size_t Block::body_bytes_for(std::span<const Event> events, Layout layout) noexcept {
  assert(layout.frame != 0);
  return allocation_for(events, layout) - table_bytes(events.size(), layout);
}

Block::Owner Block::make(BlockMemory& memory, std::span<const Event> events, Ticket ticket, Layout layout) {
  static_assert(sizeof(Block) % kAlign == 0 && sizeof(Entry) % kAlign == 0 && sizeof(Mark) % kAlign == 0);
  // The ticket holds the size already, so it is not computed again.
  assert(ticket.bytes() == bytes_for(events, layout) && "a ticket of other events");
  void* const allocated = memory.allocate(ticket.bytes() - overhead(events.size()));
  Owner block(new (allocated) Block(memory, std::move(ticket), static_cast<std::uint32_t>(events.size()), layout));

  auto* const base = static_cast<std::byte*>(allocated);
  std::size_t at = table_bytes(events.size(), layout);
  const auto put = [&](const void* from, std::size_t size) {
    if (size > 0) std::memcpy(base + at, from, size);
    const auto begin = static_cast<std::uint32_t>(at);
    at += size;
    return begin;
  };
  if (layout.watched) std::ranges::fill(block->finished_bits(), 0);
  block->body_at_ = static_cast<std::uint32_t>(at);
  Entry* const entries = block->entries();
  std::uint32_t type_at = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    at += layout.frame;
    if (layout.frame != 0 || !same_type(events, i)) {
      type_at = put(event.content_type.data(), event.content_type.size());
    }
    const std::uint32_t payload_at = put(event.payload.data(), event.payload.size());
    new (entries + i) Entry{payload_at, static_cast<std::uint32_t>(event.payload.size()), type_at,
                            static_cast<std::uint32_t>(event.content_type.size())};
    if (layout.frame == 0) continue;
    const std::size_t padding = aligned(at - block->body_at_) - (at - block->body_at_);
    std::memset(base + at, 0, padding);
    at += padding;
  }
  block->body_size_ = static_cast<std::uint32_t>(at) - block->body_at_;
  return block;
}

Block::Owner Block::adopt(BlockMemory& memory, BlockMemory::Buffer body, std::span<const Event> events, Ticket ticket,
                          Layout layout) {
  assert(layout.frame == 0 && body.get_deleter().to == &memory && "the block gives it back to the same memory");
  const std::size_t table = table_bytes(events.size(), layout);
  Owner block(new (memory.allocate(table))
                  Block(memory, std::move(ticket), static_cast<std::uint32_t>(events.size()), layout));
  block->body_at_ = static_cast<std::uint32_t>(table);
  block->body_size_ = static_cast<std::uint32_t>(body.get_deleter().bytes);
  if (layout.watched) std::ranges::fill(block->finished_bits(), 0);
  block->base_ = body.release();
  const auto at = [&](const void* of) {
    return static_cast<std::uint32_t>(static_cast<const std::byte*>(of) - block->base_);
  };
  Entry* entry = block->entries();
  for (const Event& event : events) {
    new (entry++) Entry{at(event.payload.data()), static_cast<std::uint32_t>(event.payload.size()),
                        at(event.content_type.data()), static_cast<std::uint32_t>(event.content_type.size())};
  }
  return block;
}

void Block::deliveries(std::uint32_t first, std::span<Delivery> to) const noexcept {
  const std::byte* const base = base_;
  const Entry* entry = entries() + first;
  std::uint64_t sequence = first_sequence_ + first;
  const RunId run = run_;  // a copy; otherwise it would be read again after each store
  const auto received = received_;
  for (Delivery& delivery : to) {
    delivery.payload = {base + entry->payload_at, entry->payload_size};
    delivery.content_type = {reinterpret_cast<const char*>(base + entry->type_at), entry->type_size};
    delivery.id.run = run;
    delivery.id.sequence = sequence++;
    delivery.received = received;
    delivery.attempt = 1;
    ++entry;
  }
  if (!layout_.own_marks) return;
  const Mark* mark = marks() + first;
  for (Delivery& delivery : to) {
    delivery.id.sequence = mark->sequence;
    delivery.received = mark->received;
    ++mark;
  }
}

std::span<std::byte> Block::body() noexcept {
  assert(framed() && "a block without frames is not for the journal");
  return {reinterpret_cast<std::byte*>(this) + body_at_, body_size_};
}

std::span<std::uint64_t> Block::finished_bits() noexcept {
  assert(layout_.watched && "only a watched block knows which of its events are finished");
  auto* const bits = reinterpret_cast<std::byte*>(entries() + count_) + (layout_.own_marks ? count_ * sizeof(Mark) : 0);
  return {reinterpret_cast<std::uint64_t*>(bits), (std::size_t{count_} + 63) / 64};
}

std::chrono::system_clock::time_point Block::coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::chrono::system_clock::time_point(std::chrono::seconds{now.tv_sec} +
                                               std::chrono::nanoseconds{now.tv_nsec});
}

void Block::destroy(Ticket& freed) noexcept {
  if (watch_.by != nullptr) watch_.by->forget(*this);
  // Give back the bytes only after the memory; so the ticket leaves the block first.
  Ticket bytes = std::move(ticket_);
  BlockMemory& memory = memory_;
  std::size_t size = body_at_;
  if (base_ == reinterpret_cast<std::byte*>(this)) {
    size += body_size_;
  } else {
    memory.deallocate(base_, body_size_);
  }
  this->~Block();
  memory.deallocate(this, size);
  freed.absorb(std::move(bytes));
}

}  // namespace sluice
