// Blocks and slices: what the queue carries. A block is one allocation a request: header, an entry an event, payloads
// and content types; written once by its producer, read by workers, freed by whoever finishes its last event.
// Nothing on the hot path is per event but its bytes and its entry; counts are given back by runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "lifecycle/admission.h"
#include "sluice/event.h"

namespace sluice {

class Block {
 public:
  struct Release {
    void operator()(Block* block) const noexcept { block->release(block->count_); }
  };
  // For a block that no slice points into yet.
  using Owner = std::unique_ptr<Block, Release>;

  // What a block of these events is charged: all it allocates, and its share of the queue. More than a block can
  // address (4 GiB), or a content type of over 255 bytes: SIZE_MAX, which no door admits.
  [[nodiscard]] static std::size_t bytes_for(std::span<const Event> events) noexcept;

  // Copies the events. The ticket's bytes stay with the block; its events are given back by the workers.
  [[nodiscard]] static Owner make(std::span<const Event> events, Ticket ticket);

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t payload_size(std::uint32_t i) const noexcept { return entries()[i].payload_size; }

  // The event as a sink will see it; valid until it is released.
  [[nodiscard]] Delivery delivery(std::uint32_t i) const noexcept {
    Delivery shown;
    show(i, shown);
    return shown;
  }
  // The same, written in place: to build a Delivery and then copy it cost more than all else that a worker does for an
  // event (narrow stores behind wide loads of the same bytes stall).
  void show(std::uint32_t i, Delivery& to) const noexcept {
    const auto* const base = reinterpret_cast<const std::byte*>(this);
    const Entry& entry = entries()[i];
    to.payload = {base + entry.payload_at, entry.payload_size};
    to.content_type = {reinterpret_cast<const char*>(base + entry.type_at), entry.type_size};
    to.id.run = run_;
    to.id.sequence = first_sequence_ + i;
    to.received = received_;
  }

  // Which ids and which time; by the queue, before anybody else sees the block.
  void number(const RunId& run, std::uint64_t first_sequence) noexcept {
    run_ = run;
    first_sequence_ = first_sequence;
  }
  [[nodiscard]] std::uint64_t first_sequence() const noexcept { return first_sequence_; }
  [[nodiscard]] const RunId& run() const noexcept { return run_; }

  // How many events still need the block. Exact only for who holds some of them.
  [[nodiscard]] std::uint32_t pointing() const noexcept { return pointing_.load(); }

  // n of its events need it no more; with the last one the block is freed and its bytes are given back.
  void release(std::uint32_t n) noexcept {
    Ticket freed;
    release(n, freed);
  }
  // The same, but the bytes go to `freed`, for who gives back those of many blocks in one step.
  void release(std::uint32_t n, Ticket& freed) noexcept {
    // Who holds all that are left has nobody to race with, and saves the read-modify-write.
    if (pointing_.load() == n || pointing_.fetch_sub(n) == n) destroy(freed);
  }

 private:
  struct Entry {
    std::uint32_t payload_at;  // offsets from the block's begin
    std::uint32_t payload_size;
    std::uint32_t type_at;
    std::uint32_t type_size;
  };

  Block(Ticket ticket, std::uint32_t count) noexcept
      : ticket_(std::move(ticket)), received_(coarse_now()), count_(count), pointing_(count) {}
  ~Block() = default;
  // The kernel's coarse clock: at most a tick (1 to 4 ms) behind, and nearly free; the exact one was a sixth of a
  // track().
  [[nodiscard]] static std::chrono::system_clock::time_point coarse_now() noexcept;
  void destroy(Ticket& freed) noexcept;
  [[nodiscard]] Entry* entries() noexcept { return reinterpret_cast<Entry*>(this + 1); }
  [[nodiscard]] const Entry* entries() const noexcept { return reinterpret_cast<const Entry*>(this + 1); }

  Ticket ticket_;
  RunId run_;
  std::uint64_t first_sequence_ = 0;
  std::chrono::system_clock::time_point received_;
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
