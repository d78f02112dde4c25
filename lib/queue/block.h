// Blocks and slices: the contents of the queue. A block is one allocation per request: header, one entry per event,
// payloads and content types. Its producer writes it once, workers read it, and the thread that finishes its last event
// frees it. Events read from the disk stay in the read buffer: such a block is the header and the entries, and adopts
// the buffer. Per event the hot path copies its bytes and writes its entry, no more; events are released by runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "admission/admission.h"
#include "queue/block_memory.h"
#include "sluice/event.h"

namespace sluice {

class Block;

// Tracks a block until it is freed. forget() runs on the thread that finished the last event, before the block is
// freed.
class BlockWatcher {
 public:
  virtual void forget(Block& block) noexcept = 0;

 protected:
  ~BlockWatcher() = default;
};

class Block {
 public:
  struct Release {
    void operator()(Block* block) const noexcept { block->release(block->count_); }
  };
  // Owns a block that no slice points into yet.
  using Owner = std::unique_ptr<Block, Release>;

  // How the events are laid out.
  struct Layout {
    std::size_t frame = 0;   // bytes left free for the journal before each event, which then starts at a multiple of 8
    bool own_marks = false;  // each event has its own id and time, instead of the block's
    bool watched = false;    // the block has a bit per event for "finished", and a watcher
  };

  // The bytes to charge for a block of these events: its allocation and its share of the queue. SIZE_MAX, which no door
  // admits, for more than a block can address (4 GiB) or a content type of over 255 bytes.
  [[nodiscard]] static std::size_t bytes_for(std::span<const Event> events, Layout layout) noexcept;

  // The same for a block that adopts a buffer of so many bytes, which it keeps whole however few of them are events.
  [[nodiscard]] static std::size_t bytes_for_adopted(std::size_t bytes, std::size_t events, Layout layout) noexcept;

  // The size that body() will have. Only with a frame.
  [[nodiscard]] static std::size_t body_bytes_for(std::span<const Event> events, Layout layout) noexcept;

  // Copies the events. The ticket must hold bytes_for() of them. The block keeps its bytes until it is freed; its
  // events go to the queue with the push, and the workers give them back. `memory` outlives the block.
  [[nodiscard]] static Owner make(BlockMemory& memory, std::span<const Event> events, Ticket ticket, Layout layout);

  // Copies nothing: the events lie in `body`, a buffer of `memory`, which the block owns from here. Without a frame.
  [[nodiscard]] static Owner adopt(BlockMemory& memory, BlockMemory::Buffer body, std::span<const Event> events,
                                   Ticket ticket, Layout layout);

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t payload_size(std::uint32_t i) const noexcept { return entries()[i].payload_size; }

  // The event as a sink sees it; valid until the event is released.
  [[nodiscard]] Delivery delivery(std::uint32_t i) const noexcept {
    Delivery delivery;
    deliveries(i, {&delivery, 1});
    return delivery;
  }
  // The same for to.size() events from `first` on, as first attempts. Written in place: building a Delivery and copying
  // it cost more than everything else that a worker does per event (narrow stores followed by wide loads of the same
  // bytes stall).
  void deliveries(std::uint32_t first, std::span<Delivery> to) const noexcept;

  // Gives the events consecutive ids. Called by the queue, before other threads see the block.
  void assign_ids(const RunId& run, std::uint64_t first_sequence) noexcept {
    run_ = run;
    first_sequence_ = first_sequence;
  }
  // Sets the id and time of one event, in a block with own_marks; assign_ids() sets their run.
  void mark(std::uint32_t i, std::uint64_t sequence, std::chrono::system_clock::time_point received) noexcept {
    marks()[i] = {sequence, received};
  }
  [[nodiscard]] std::uint64_t first_sequence() const noexcept { return first_sequence_; }
  [[nodiscard]] std::uint64_t sequence(std::uint32_t i) const noexcept {
    return layout_.own_marks ? marks()[i].sequence : first_sequence_ + i;
  }
  [[nodiscard]] std::chrono::system_clock::time_point received() const noexcept { return received_; }
  [[nodiscard]] const RunId& run() const noexcept { return run_; }

  // All events with their frames, contiguous, and the offset of an event's frame in it. Only with a frame.
  [[nodiscard]] std::span<std::byte> body() noexcept;
  [[nodiscard]] std::size_t frame_at(std::uint32_t i) const noexcept {
    return entries()[i].type_at - layout_.frame - body_at_;
  }
  [[nodiscard]] std::size_t type_size(std::uint32_t i) const noexcept { return entries()[i].type_size; }
  [[nodiscard]] bool framed() const noexcept { return layout_.frame != 0; }

  // The segment of the journal with the records of its events; 0: none.
  [[nodiscard]] std::uint64_t segment() const noexcept { return segment_.load(); }
  void set_segment(std::uint64_t segment) noexcept { segment_.store(segment); }

  // The memory it was allocated from.
  [[nodiscard]] BlockMemory& memory() const noexcept { return memory_; }

  // Its ticket, which may be replaced or given back while no other thread sees the block.
  [[nodiscard]] Ticket& ticket() noexcept { return ticket_; }

  // Adds a reference besides those of its events; dropped by release(1). try_hold(): false if the block is being freed.
  void hold() noexcept { references_.fetch_add(1); }
  [[nodiscard]] bool try_hold() noexcept {
    std::uint32_t now = references_.load();
    while (now != 0 && !references_.compare_exchange_weak(now, now + 1)) {
    }
    return now != 0;
  }

  // The watcher's data in a watched block, guarded by the watcher's lock.
  struct Watch {
    BlockWatcher* by = nullptr;
    Block* previous = nullptr;
    Block* next = nullptr;
    std::uint32_t unfinished = 0;
  };
  [[nodiscard]] bool watched() const noexcept { return layout_.watched; }
  [[nodiscard]] Watch& watch() noexcept { return watch_; }
  // One bit per event, set once the event is finished.
  [[nodiscard]] std::span<std::uint64_t> finished_bits() noexcept;

  // The number of unreleased events and other references. Exact only for a caller that holds some of them.
  [[nodiscard]] std::uint32_t references() const noexcept { return references_.load(); }

  // Drops n references, one per event; with the last one the block is freed and its bytes are given back.
  void release(std::uint32_t n) noexcept {
    Ticket freed;
    release(n, freed);
  }
  // The same, but the bytes go to `freed`, so that the bytes of many blocks can be given back in one step.
  void release(std::uint32_t n, Ticket& freed) noexcept {
    // A caller that holds all references left races with nobody and saves the read-modify-write. Not so in a watched
    // block, which others can find and hold meanwhile.
    if ((!layout_.watched && references_.load() == n) || references_.fetch_sub(n) == n) destroy(freed);
  }

 private:
  struct Entry {
    std::uint32_t payload_at;  // offsets from base_
    std::uint32_t payload_size;
    std::uint32_t type_at;
    std::uint32_t type_size;
  };

  struct Mark {
    std::uint64_t sequence;
    std::chrono::system_clock::time_point received;
  };

  Block(BlockMemory& memory, Ticket ticket, std::uint32_t count, Layout layout) noexcept
      : memory_(memory),
        ticket_(std::move(ticket)),
        received_(coarse_now()),
        layout_(layout),
        count_(count),
        references_(count) {}
  static std::size_t table_bytes(std::size_t events, Layout layout) noexcept;
  static std::size_t overhead(std::size_t events) noexcept;  // charged besides the allocation
  static std::size_t allocation_for(std::span<const Event> events, Layout layout) noexcept;
  ~Block() = default;
  // The kernel's coarse clock: at most a tick (1 to 4 ms) behind, and nearly free; the exact clock took a sixth of a
  // track().
  [[nodiscard]] static std::chrono::system_clock::time_point coarse_now() noexcept;
  void destroy(Ticket& freed) noexcept;
  [[nodiscard]] Entry* entries() noexcept { return reinterpret_cast<Entry*>(this + 1); }
  [[nodiscard]] const Entry* entries() const noexcept { return reinterpret_cast<const Entry*>(this + 1); }
  [[nodiscard]] Mark* marks() noexcept { return reinterpret_cast<Mark*>(entries() + count_); }
  [[nodiscard]] const Mark* marks() const noexcept { return reinterpret_cast<const Mark*>(entries() + count_); }

  BlockMemory& memory_;
  Ticket ticket_;
  RunId run_;
  std::uint64_t first_sequence_ = 0;
  std::chrono::system_clock::time_point received_;
  std::atomic<std::uint64_t> segment_{0};
  Watch watch_;
  const Layout layout_;
  std::byte* base_ = reinterpret_cast<std::byte*>(this);  // or the adopted buffer
  std::uint32_t body_at_ = 0;                             // where frames, types and payloads begin
  std::uint32_t body_size_ = 0;                           // the rest of the block; or the whole adopted buffer
  std::uint32_t count_;
  std::atomic<std::uint32_t> references_;
};

// A run of a block's events: an element of the queue, trivially copyable.
struct Slice {
  static constexpr std::uint32_t kMaxEvents = 64;

  Block* block;
  std::uint32_t first;
  std::uint32_t count;  // 1 … kMaxEvents, or fewer by the queue's slice_events
};

}  // namespace sluice
