// Under Ack::queued: the blocks whose events have no record yet, so that a stop can write them down. A block is known
// from before it is queued until it is freed, and says which of its events are finished. Any thread; sixteen locks, so
// that workers and producers rarely meet. It keeps no block alive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "queue/block.h"

namespace sluice::backlog {

class Unrecorded final : public BlockWatcher {
 public:
  // Before the block is anybody else's. It is watched (Block::Layout).
  void watch(Block& block);
  // It was not taken after all.
  void unwatch(Block& block) noexcept;

  // These events of a watched block are finished. Where they have a record: 0, nowhere.
  [[nodiscard]] std::uint64_t finish(Block& block, std::uint32_t first, std::uint32_t count) noexcept;

  // Events that are neither finished nor recorded, also where their block is gone: past a deadline the workers let go
  // what they had, and nobody has it any more. Signal safe.
  [[nodiscard]] std::uint64_t events() const noexcept { return events_.load(); }

  // Every block that has some, held: to be given back by Block::release(1).
  [[nodiscard]] std::vector<Block*> hold_all();
  // visit(index): its unfinished events of this instant.
  void each_unfinished(Block& block, const std::function<void(std::uint32_t)>& visit);
  // All that was unfinished has its records there. settled(index) is called for what is finished by now, whether before
  // that or meanwhile.
  void recorded(Block& block, std::uint64_t segment, const std::function<void(std::uint32_t)>& settled);

  void forget(Block& block) noexcept override;

 private:
  struct Shard {
    std::mutex mutex;
    Block* first = nullptr;  // guarded by mutex, and so is every Watch of its blocks
  };
  [[nodiscard]] Shard& shard_of(const Block& block) noexcept;

  std::array<Shard, 16> shards_;
  std::atomic<std::uint64_t> events_{0};
};

}  // namespace sluice::backlog
