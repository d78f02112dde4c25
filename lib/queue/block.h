// Blocks and slices: what the queue carries. A block is one allocation a request: header, an entry an event, payloads
// and content types; written once by its producer, read by workers, freed by whoever finishes its last event. What
// comes back from the disk stays where it was read to: there a block is the header and the entries, and adopts that
// memory. Nothing on the hot path is per event but its bytes and its entry; counts are given back by runs.
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

// Somebody who wants to know of a block until it goes. Told on the thread that finished its last event.
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
  // For a block that no slice points into yet.
  using Owner = std::unique_ptr<Block, Release>;

  // How the events lie in it.
  struct Layout {
    std::size_t frame = 0;   // bytes left free before each event, which then begins at a multiple of 8: for the journal
    bool own_marks = false;  // each event has its own id and time, instead of the block's
    bool watched = false;    // which of its events are finished is written down in it
  };

  // What a block of these events is charged: all it allocates, and its share of the queue. More than a block can
  // address (4 GiB), or a content type of over 255 bytes: SIZE_MAX, which no door admits.
  [[nodiscard]] static std::size_t bytes_for(std::span<const Event> events, Layout layout) noexcept;

  // The same for one that adopts a piece of so many bytes, all of which it holds, however few of them are events.
  [[nodiscard]] static std::size_t bytes_for_adopted(std::size_t bytes, std::size_t events, Layout layout) noexcept;

  // The size of its body, for who wants it before there is a block. Only with a frame.
  [[nodiscard]] static std::size_t body_bytes_for(std::span<const Event> events, Layout layout) noexcept;

  // Copies the events. The ticket holds what bytes_for() says of them, and stays with the block: its bytes until the
  // block is freed; its events are handed over by whoever puts the block into the queue, and then given back by the
  // workers. `memory` outlives the block.
  [[nodiscard]] static Owner make(BlockMemory& memory, std::span<const Event> events, Ticket ticket, Layout layout);

  // Copies nothing: the events lie in `body`, a piece of `memory` that is the block's from here. Without a frame.
  [[nodiscard]] static Owner adopt(BlockMemory& memory, BlockMemory::Lent body, std::span<const Event> events,
                                   Ticket ticket, Layout layout);

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t payload_size(std::uint32_t i) const noexcept { return entries()[i].payload_size; }

  // The event as a sink will see it; valid until it is released.
  [[nodiscard]] Delivery delivery(std::uint32_t i) const noexcept {
    Delivery shown;
    show(i, {&shown, 1});
    return shown;
  }
  // The same for as many as there is room for, from `first` on, as first attempts. Written in place: to build a
  // Delivery and then copy it cost more than all else that a worker does for an event (narrow stores behind wide loads
  // of the same bytes stall).
  void show(std::uint32_t first, std::span<Delivery> to) const noexcept;

  // Which ids and which time; by the queue, before anybody else sees the block.
  void number(const RunId& run, std::uint64_t first_sequence) noexcept {
    run_ = run;
    first_sequence_ = first_sequence;
  }
  // The id and time of one event, in a block whose events have their own; `number` gives them their run.
  void mark(std::uint32_t i, std::uint64_t sequence, std::chrono::system_clock::time_point received) noexcept {
    marks()[i] = {sequence, received};
  }
  [[nodiscard]] std::uint64_t first_sequence() const noexcept { return first_sequence_; }
  [[nodiscard]] std::uint64_t sequence(std::uint32_t i) const noexcept {
    return layout_.own_marks ? marks()[i].sequence : first_sequence_ + i;
  }
  [[nodiscard]] std::chrono::system_clock::time_point received() const noexcept { return received_; }
  [[nodiscard]] const RunId& run() const noexcept { return run_; }

  // All events with their frames, in one piece, and where in it the frame of an event begins. Only with a frame.
  [[nodiscard]] std::span<std::byte> body() noexcept;
  [[nodiscard]] std::size_t frame_at(std::uint32_t i) const noexcept {
    return entries()[i].type_at - layout_.frame - body_at_;
  }
  [[nodiscard]] std::size_t type_size(std::uint32_t i) const noexcept { return entries()[i].type_size; }
  [[nodiscard]] bool framed() const noexcept { return layout_.frame != 0; }

  // In which segment of the journal its events have their records; 0: in none.
  [[nodiscard]] std::uint64_t home() const noexcept { return home_.load(); }
  void settle_in(std::uint64_t segment) noexcept { home_.store(segment); }

  // What it was made of, for a copy.
  [[nodiscard]] BlockMemory& memory() const noexcept { return memory_; }

  // The ticket it holds, which may be exchanged or given back while nobody else sees the block.
  [[nodiscard]] Ticket& ticket() noexcept { return ticket_; }

  // Somebody holds it besides its events; let go by release(1). `try_hold`: not if it is on its way out already.
  void hold() noexcept { pointing_.fetch_add(1); }
  [[nodiscard]] bool try_hold() noexcept {
    std::uint32_t now = pointing_.load();
    while (now != 0 && !pointing_.compare_exchange_weak(now, now + 1)) {
    }
    return now != 0;
  }

  // Of a watched block: the watcher's own, under the watcher's lock.
  struct Watch {
    BlockWatcher* by = nullptr;
    Block* previous = nullptr;
    Block* next = nullptr;
    std::uint32_t unfinished = 0;
  };
  [[nodiscard]] bool watched() const noexcept { return layout_.watched; }
  [[nodiscard]] Watch& watch() noexcept { return watch_; }
  // A bit an event, set once it is finished.
  [[nodiscard]] std::span<std::uint64_t> finished_bits() noexcept;

  // How many events still need the block. Exact only for who holds some of them.
  [[nodiscard]] std::uint32_t pointing() const noexcept { return pointing_.load(); }

  // n of its events need it no more; with the last one the block is freed and its bytes are given back.
  void release(std::uint32_t n) noexcept {
    Ticket freed;
    release(n, freed);
  }
  // The same, but the bytes go to `freed`, for who gives back those of many blocks in one step.
  void release(std::uint32_t n, Ticket& freed) noexcept {
    // Who holds all that are left has nobody to race with, and saves the read-modify-write; but for a block that others
    // can find, and would hold while it goes.
    if ((!layout_.watched && pointing_.load() == n) || pointing_.fetch_sub(n) == n) destroy(freed);
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
        pointing_(count) {}
  static std::size_t table_bytes(std::size_t events, Layout layout) noexcept;
  static std::size_t around(std::size_t events) noexcept;  // what is charged besides the allocation
  static std::size_t allocation_for(std::span<const Event> events, Layout layout) noexcept;
  ~Block() = default;
  // The kernel's coarse clock: at most a tick (1 to 4 ms) behind, and nearly free; the exact one was a sixth of a
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
  std::atomic<std::uint64_t> home_{0};
  Watch watch_;
  const Layout layout_;
  std::byte* base_ = reinterpret_cast<std::byte*>(this);  // or the piece that was adopted
  std::uint32_t body_at_ = 0;                             // where types and payloads begin, with a frame the first one
  std::uint32_t body_size_ = 0;                           // and all that is left of the block; or all of the piece
  std::uint32_t count_;
  std::atomic<std::uint32_t> pointing_;
};

// A run of a block's events: an element of the queue, trivially copyable.
struct Slice {
  static constexpr std::uint32_t kMost = 64;

  Block* block;
  std::uint32_t first;
  std::uint32_t count;  // 1 … kMost, or less if the queue was told so
};

}  // namespace sluice
