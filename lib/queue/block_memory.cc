// See the header. Under AddressSanitizer free memory is poisoned after its link, so that a use of a freed block is
// found as if operator delete had freed it.
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

// The sizes divide each power of two into eighths: 256, 288, … 480, 512, 576, …
std::size_t BlockMemory::class_of(std::size_t size) noexcept {
  if (size <= kSmallest) return 0;
  const unsigned power = static_cast<unsigned>(std::bit_width(size - 1)) - 1;  // size is in (2^power, 2^(power + 1)]
  const std::size_t step = (std::size_t{1} << power) / kSteps;
  const std::size_t steps = (size - (std::size_t{1} << power) + step - 1) / step;  // 1 … kSteps
  return (power - kSmallestBits) * kSteps + steps;
}

std::size_t BlockMemory::class_size(std::size_t index) noexcept {
  const std::size_t power = std::size_t{1} << (kSmallestBits + index / kSteps);
  return power + power / kSteps * (index % kSteps);
}

std::size_t BlockMemory::size_of(std::size_t bytes) noexcept {
  return bytes > kLargest ? bytes : class_size(class_of(bytes));
}

std::uint64_t BlockMemory::head_of(const Free* top, std::uint64_t depth) noexcept {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(top)) | (depth << kAddressBits);
}

BlockMemory::Free* BlockMemory::top(std::uint64_t head) noexcept {
  // The address is the low bits of the head. NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<Free*>(static_cast<std::uintptr_t>(head & ((std::uint64_t{1} << kAddressBits) - 1)));
}

void* BlockMemory::allocate(std::size_t bytes) {
  if (bytes > kLargest) return ::operator new(bytes);
  const std::size_t index = class_of(bytes);
  const std::size_t size = class_size(index);
  SizeClass& of_size = classes_[index];
  if (const std::unique_lock lock(of_size.mutex, std::try_to_lock); lock) {
    if (of_size.available == 0 && of_size.returned.load(std::memory_order_relaxed) != 0) {
      of_size.available = of_size.returned.exchange(0, std::memory_order_acquire);
    }
    if (Free* const memory = top(of_size.available); memory != nullptr) {
      const std::uint64_t left = depth(of_size.available) - 1;
      of_size.available = head_of(memory->next, left);
      if (left % lot_of(size) == 0) idle_.fetch_sub(lot_of(size) * size, std::memory_order_relaxed);
      ASAN_UNPOISON_MEMORY_REGION(memory, size);
      return memory;
    }
  }
  return ::operator new(size);
}

void BlockMemory::deallocate(void* memory, std::size_t bytes) noexcept {
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(memory));
  if (bytes > kLargest || (address >> kAddressBits) != 0) return ::operator delete(memory);
  const std::size_t index = class_of(bytes);
  const std::size_t size = class_size(index);
  const std::size_t lot = lot_of(size);
  SizeClass& of_size = classes_[index];

  auto* const link = new (memory) Free{nullptr};
  ASAN_POISON_MEMORY_REGION(link + 1, size - sizeof *link);
  bool reserved = false;
  std::uint64_t head = of_size.returned.load(std::memory_order_relaxed);
  do {
    const bool begins_lot = depth(head) % lot == 0;
    if (begins_lot && !reserved) {
      if (depth(head) + lot > kMaxDepth || !reserve_lot(index, lot * size)) return release(link, size);
      reserved = true;
    } else if (!begins_lot && reserved) {  // another thread has pushed meanwhile
      idle_.fetch_sub(lot * size, std::memory_order_relaxed);
      reserved = false;
    }
    link->next = top(head);
  } while (!of_size.returned.compare_exchange_weak(head, head_of(link, depth(head) + 1), std::memory_order_release,
                                                   std::memory_order_relaxed));
}

// Sizes that are no longer used must not hold the whole idle limit: if it is reached, another size class is emptied,
// each in its turn.
bool BlockMemory::reserve_lot(std::size_t index, std::size_t bytes) noexcept {
  if (try_reserve(bytes)) return true;
  const std::size_t other = next_cleared_.fetch_add(1, std::memory_order_relaxed) % kSizeClasses;
  if (other == index) return false;
  clear(other);
  return try_reserve(bytes);
}

bool BlockMemory::try_reserve(std::size_t bytes) noexcept {
  if (idle_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= max_idle_) return true;
  idle_.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

// If another thread is allocating in this class, leaves `available` to it.
void BlockMemory::clear(std::size_t index) noexcept {
  SizeClass& of_size = classes_[index];
  const std::size_t size = class_size(index);
  release_all(of_size.returned.exchange(0, std::memory_order_acquire), size);
  if (const std::unique_lock lock(of_size.mutex, std::try_to_lock); lock) {
    release_all(std::exchange(of_size.available, 0), size);
  }
}

void BlockMemory::release_all(std::uint64_t head, std::size_t size) noexcept {
  const std::uint64_t lots = (depth(head) + lot_of(size) - 1) / lot_of(size);
  for (Free* memory = top(head); memory != nullptr;) release(std::exchange(memory, memory->next), size);
  idle_.fetch_sub(lots * lot_of(size) * size, std::memory_order_relaxed);
}

void BlockMemory::release(Free* memory, [[maybe_unused]] std::size_t size) noexcept {
  ASAN_UNPOISON_MEMORY_REGION(memory, size);
  ::operator delete(memory);
}

BlockMemory::~BlockMemory() {
  for (std::size_t i = 0; i < kSizeClasses; ++i) clear(i);
}

}  // namespace sluice
