// See the header for why. Under AddressSanitizer an idle piece is poisoned behind its link: who still looks at a block
// that is gone is found out as if it had been freed.
#include "queue/block_memory.h"

#include <bit>
#include <new>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#endif

namespace sluice {

// Sizes go by eighths of a power of two: 256, 288, … 480, 512, 576, …
std::size_t BlockMemory::shelf_of(std::size_t size) noexcept {
  if (size <= kSmallest) return 0;
  const unsigned power = static_cast<unsigned>(std::bit_width(size - 1)) - 1;  // size is in (2^power, 2^(power + 1)]
  const std::size_t step = (std::size_t{1} << power) / kSteps;
  const std::size_t steps = (size - (std::size_t{1} << power) + step - 1) / step;  // 1 … kSteps
  return (power - kSmallestBits) * kSteps + steps;
}

std::size_t BlockMemory::size_on(std::size_t shelf) noexcept {
  const std::size_t power = std::size_t{1} << (kSmallestBits + shelf / kSteps);
  return power + power / kSteps * (shelf % kSteps);
}

std::size_t BlockMemory::size_of(std::size_t bytes) noexcept {
  return bytes > kLargest ? bytes : size_on(shelf_of(bytes));
}

std::uint64_t BlockMemory::head_of(const Piece* piece, std::uint64_t depth) noexcept {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(piece)) | (depth << kAddressBits);
}

BlockMemory::Piece* BlockMemory::top(std::uint64_t head) noexcept {
  // The address is what is left of the head. NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<Piece*>(static_cast<std::uintptr_t>(head & ((std::uint64_t{1} << kAddressBits) - 1)));
}

void* BlockMemory::take(std::size_t bytes) {
  if (bytes > kLargest) return ::operator new(bytes);
  const std::size_t index = shelf_of(bytes);
  const std::size_t size = size_on(index);
  Shelf& shelf = shelves_[index];
  if (const std::unique_lock lock(shelf.mutex, std::try_to_lock); lock) {
    if (shelf.at_hand == 0 && shelf.returned.load(std::memory_order_relaxed) != 0) {
      shelf.at_hand = shelf.returned.exchange(0, std::memory_order_acquire);
    }
    if (Piece* const piece = top(shelf.at_hand); piece != nullptr) {
      const std::uint64_t left = depth(shelf.at_hand) - 1;
      shelf.at_hand = head_of(piece->next, left);
      if (left % lot_of(size) == 0) idle_.fetch_sub(lot_of(size) * size, std::memory_order_relaxed);
      ASAN_UNPOISON_MEMORY_REGION(piece, size);
      return piece;
    }
  }
  return ::operator new(size);
}

void BlockMemory::put(void* piece, std::size_t bytes) noexcept {
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(piece));
  if (bytes > kLargest || (address >> kAddressBits) != 0) return ::operator delete(piece);
  const std::size_t index = shelf_of(bytes);
  const std::size_t size = size_on(index);
  const std::size_t lot = lot_of(size);
  Shelf& shelf = shelves_[index];

  auto* const link = new (piece) Piece{nullptr};
  ASAN_POISON_MEMORY_REGION(link + 1, size - sizeof *link);
  bool reserved = false;
  std::uint64_t head = shelf.returned.load(std::memory_order_relaxed);
  do {
    const bool begins_lot = depth(head) % lot == 0;
    if (begins_lot && !reserved) {
      if (depth(head) + lot > kMostDepth || !make_room(index, lot * size)) return free(link, size);
      reserved = true;
    } else if (!begins_lot && reserved) {  // another came before
      idle_.fetch_sub(lot * size, std::memory_order_relaxed);
      reserved = false;
    }
    link->next = top(head);
  } while (!shelf.returned.compare_exchange_weak(head, head_of(link, depth(head) + 1), std::memory_order_release,
                                                 std::memory_order_relaxed));
}

// What lies idle in sizes that nobody asks for any more must not keep out those that come and go now: where there is no
// room, another size has to make some, each in its turn.
bool BlockMemory::make_room(std::size_t index, std::size_t bytes) noexcept {
  if (try_reserve(bytes)) return true;
  const std::size_t other = next_cleared_.fetch_add(1, std::memory_order_relaxed) % kShelves;
  if (other == index) return false;
  clear(other);
  return try_reserve(bytes);
}

bool BlockMemory::try_reserve(std::size_t bytes) noexcept {
  if (idle_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= most_idle_) return true;
  idle_.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

// Of what somebody is just taking there it leaves what he has at hand.
void BlockMemory::clear(std::size_t index) noexcept {
  Shelf& shelf = shelves_[index];
  const std::size_t size = size_on(index);
  free_all(shelf.returned.exchange(0, std::memory_order_acquire), size);
  if (const std::unique_lock lock(shelf.mutex, std::try_to_lock); lock) {
    free_all(std::exchange(shelf.at_hand, 0), size);
  }
}

void BlockMemory::free_all(std::uint64_t head, std::size_t size) noexcept {
  const std::uint64_t lots = (depth(head) + lot_of(size) - 1) / lot_of(size);
  for (Piece* piece = top(head); piece != nullptr;) free(std::exchange(piece, piece->next), size);
  idle_.fetch_sub(lots * lot_of(size) * size, std::memory_order_relaxed);
}

void BlockMemory::free(Piece* piece, [[maybe_unused]] std::size_t size) noexcept {
  ASAN_UNPOISON_MEMORY_REGION(piece, size);
  ::operator delete(piece);
}

BlockMemory::~BlockMemory() {
  for (std::size_t i = 0; i < kShelves; ++i) clear(i);
}

}  // namespace sluice
