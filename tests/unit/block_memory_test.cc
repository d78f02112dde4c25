// Memory that blocks leave to those that come: what is kept, what is not, and that nobody gets a piece twice.
#include "queue/block_memory.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

namespace sluice {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;

TEST_CASE("block memory: an allocation is at most an eighth larger than asked for, and of few sizes") {
  std::set<std::size_t> sizes;
  for (std::size_t bytes = 1; bytes <= 2 * kMiB; bytes += bytes < 5000 ? 1 : 997) {
    const std::size_t size = BlockMemory::size_of(bytes);
    REQUIRE(size >= bytes);
    if (bytes >= 256) REQUIRE(size <= bytes + bytes / 8);
    REQUIRE(BlockMemory::size_of(size) == size);
    REQUIRE(size % 16 == 0);
    sizes.insert(size);
  }
  CHECK(sizes.size() <= 105);
  CHECK(BlockMemory::size_of(2 * kMiB) == 2 * kMiB);
  CHECK(BlockMemory::size_of(2 * kMiB + 1) == 2 * kMiB + 1);
}

TEST_CASE("block memory: freed memory is reused by the next allocation of its size class only") {
  BlockMemory memory(kMiB);
  void* const small = memory.allocate(300);
  void* const large = memory.allocate(5000);
  memory.deallocate(small, 300);
  memory.deallocate(large, 5000);
  REQUIRE(memory.idle() >= 5300);  // kept here: an allocator might give the same ones again
  void* const other = memory.allocate(400);
  CHECK(other != small);
  CHECK(memory.allocate(310) == small);  // 300 and 310 are 320 both
  CHECK(memory.allocate(4800) == large);
  CHECK(memory.idle() == 0);
  memory.deallocate(small, 300);
  memory.deallocate(large, 5000);
  memory.deallocate(other, 400);
}

TEST_CASE("block memory: idle memory never exceeds its limit") {
  constexpr std::size_t kSize = std::size_t{16} << 10U;
  BlockMemory memory(kMiB);
  std::vector<void*> pieces;
  for (std::size_t i = 0; i < 4 * kMiB / kSize; ++i) pieces.push_back(memory.allocate(kSize));
  for (void* const piece : pieces) {
    memory.deallocate(piece, kSize);
    REQUIRE(memory.idle() <= kMiB);
  }
  CHECK(memory.idle() == kMiB);

  SUBCASE("and all of it is taken again") {
    std::set<void*> again;
    for (std::size_t i = 0; i < kMiB / kSize; ++i) again.insert(memory.allocate(kSize));
    CHECK(again.size() == kMiB / kSize);
    CHECK(memory.idle() == 0);
    for (void* const piece : again) memory.deallocate(piece, kSize);
  }
  SUBCASE("a size that nobody asks for makes room for one that somebody does") {
    int tries = 0;  // each of the other sizes has its turn
    for (; memory.idle() == kMiB && tries < 200; ++tries) memory.deallocate(memory.allocate(1000), 1000);
    CHECK(tries < 200);
    CHECK(memory.idle() < kMiB / 4);
  }
}

TEST_CASE("block memory: with a tiny limit, or none, all memory comes from the allocator") {
  BlockMemory memory(1000);
  memory.deallocate(memory.allocate(300), 300);
  memory.deallocate(memory.allocate(3 * kMiB), 3 * kMiB);
  CHECK(memory.idle() == 0);
}

// Each piece carries who has it; two who were given the same one would see each other.
TEST_CASE("block memory: threads that allocate and threads that free never share an allocation") {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kRounds = 20'000;
  struct Handed {
    std::atomic<void*> piece{nullptr};
  };
  BlockMemory memory(kMiB / 4);
  std::vector<Handed> hands(64);
  std::atomic<bool> twice = false;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::uint64_t random = t * 0x9E3779B97F4A7C15U + 1;
        for (std::size_t i = 0; i < kRounds; ++i) {
          random = random * 6364136223846793005U + 1442695040888963407U;
          const std::size_t at = (random >> 33U) % hands.size();
          const std::size_t bytes = 300 + 2000 * (at % 3);  // three sizes, each with its hands
          auto* const mine = static_cast<std::uint64_t*>(memory.allocate(bytes));
          mine[1] = reinterpret_cast<std::uintptr_t>(mine);
          // Swapped for another's, as a block goes from its producer to a worker, and that one is given back.
          auto* const others = static_cast<std::uint64_t*>(hands[at].piece.exchange(mine));
          if (others == nullptr) continue;
          if (others[1] != reinterpret_cast<std::uintptr_t>(others)) twice = true;
          others[1] = 0;
          memory.deallocate(others, bytes);
        }
      });
    }
  }
  CHECK_FALSE(twice.load());
  for (std::size_t at = 0; at < hands.size(); ++at) {
    if (void* const piece = hands[at].piece.load()) memory.deallocate(piece, 300 + 2000 * (at % 3));
  }
  CHECK(memory.idle() <= kMiB / 4);
}

}  // namespace
}  // namespace sluice
