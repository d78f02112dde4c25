// Memory of blocks that are gone, for those that come. What one thread allocates here another frees, a request at a
// time; a general allocator takes a lock for that, and hands what lies at the end of its heap back to the kernel, only
// to fetch it anew, page by page. (Measured in turns, with and without: track() one by one, 1 + 1 threads, 120 and 395
// ns; a replay 2.4 and 1.6 million events a second.)
//
// Any thread. What lies idle is bounded in bytes, and given back to the allocator when this is destroyed, after all
// blocks. It never waits: who meets another in it goes to the allocator instead.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>

namespace sluice {

class BlockMemory {
 public:
  // At most so many bytes lie idle.
  explicit BlockMemory(std::size_t most_idle) noexcept : most_idle_(most_idle) {}
  ~BlockMemory();
  BlockMemory(const BlockMemory&) = delete;
  BlockMemory& operator=(const BlockMemory&) = delete;

  // What a piece for so many bytes really is: 256 bytes at least and up to an eighth more, so that a few sizes serve
  // all. Larger than kLargest (2 MiB): what was asked for.
  [[nodiscard]] static std::size_t size_of(std::size_t bytes) noexcept;

  // A piece of size_of(bytes), aligned as by operator new; throws std::bad_alloc. And back, with the same `bytes`.
  [[nodiscard]] void* take(std::size_t bytes);
  void put(void* piece, std::size_t bytes) noexcept;

  // A piece that goes back by itself; `to` nobody: one of the allocator's own.
  struct Back {
    BlockMemory* to = nullptr;
    std::size_t bytes = 0;
    void operator()(std::byte* piece) const noexcept {
      to != nullptr ? to->put(piece, bytes) : ::operator delete(piece);
    }
  };
  using Lent = std::unique_ptr<std::byte[], Back>;
  [[nodiscard]] static Lent lend(BlockMemory* from, std::size_t bytes) {
    void* const piece = from != nullptr ? from->take(bytes) : ::operator new(bytes);
    return {static_cast<std::byte*>(piece), Back{from, bytes}};
  }

  [[nodiscard]] std::size_t idle() const noexcept { return idle_.load(); }

 private:
  struct Piece {
    Piece* next;
  };

  // A stack whose head holds its depth as well, in the bits that an address does not need. Anybody may push; it is
  // taken only as a whole, so that nobody looks into a piece that another takes from under him.
  static constexpr unsigned kAddressBits = 48;
  static constexpr std::uint64_t kMostDepth = (std::uint64_t{1} << (64 - kAddressBits)) - 1;
  static std::uint64_t head_of(const Piece* piece, std::uint64_t depth) noexcept;
  static Piece* top(std::uint64_t head) noexcept;
  static std::uint64_t depth(std::uint64_t head) noexcept { return head >> kAddressBits; }

  // The pieces of one size. Those who put and those who take meet only when the ones at hand are used up: each side has
  // a cache line of its own.
  struct Shelf {
    alignas(64) std::atomic<std::uint64_t> returned{0};
    alignas(64) std::mutex mutex;
    std::uint64_t at_hand = 0;  // guarded by mutex
  };

  static constexpr unsigned kSmallestBits = 8;  // 256 bytes
  static constexpr unsigned kLargestBits = 21;
  static constexpr std::size_t kSteps = 8;  // sizes to a doubling
  static constexpr std::size_t kSmallest = std::size_t{1} << kSmallestBits;
  static constexpr std::size_t kLargest = std::size_t{1} << kLargestBits;
  static constexpr std::size_t kShelves = (kLargestBits - kSmallestBits) * kSteps + 1;
  static std::size_t shelf_of(std::size_t size) noexcept;
  static std::size_t size_on(std::size_t shelf) noexcept;

  // Idle bytes are counted in lots of several pieces, since all threads would meet at that counter: a stack of n pieces
  // has reserved as many lots as it takes to hold n.
  static constexpr std::size_t kLotBytes = std::size_t{64} << 10U;
  static std::uint64_t lot_of(std::size_t size) noexcept { return size >= kLotBytes ? 1 : kLotBytes / size; }
  [[nodiscard]] bool make_room(std::size_t index, std::size_t bytes) noexcept;
  [[nodiscard]] bool try_reserve(std::size_t bytes) noexcept;

  void clear(std::size_t index) noexcept;
  void free_all(std::uint64_t head, std::size_t size) noexcept;
  static void free(Piece* piece, std::size_t size) noexcept;

  const std::size_t most_idle_;
  alignas(64) std::atomic<std::size_t> idle_{0};
  std::atomic<std::size_t> next_cleared_{0};
  std::array<Shelf, kShelves> shelves_;
};

}  // namespace sluice
