// Under Ack::queued: the blocks whose events have no record yet, so that a stop can write them down. A block is in the
// list from before it is queued until it is freed, and says which of its events are finished. Any thread; sixteen
// locks, so that workers and producers rarely meet; no other lock is taken under one of them. It keeps no block alive.
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
  // Before anybody else has the block, whose layout is `watched`.
  void watch(Block& block);
  // It was not accepted after all.
  void unwatch(Block& block) noexcept;

  // These events of a watched block are finished. Returns the segment that has their records; 0: none.
  [[nodiscard]] std::uint64_t finish(Block& block, std::uint32_t first, std::uint32_t count) noexcept;

  // Events that are neither finished nor recorded, also those whose block is gone: past a deadline workers release
  // blocks unfinished. Signal safe.
  [[nodiscard]] std::uint64_t events() const noexcept { return events_.load(); }

  // Every block that has such events, held; release it by Block::release(1).
  [[nodiscard]] std::vector<Block*> hold_all();
  // visit(index): its unfinished events of this instant.
  void each_unfinished(Block& block, const std::function<void(std::uint32_t)>& visit);
  // All unfinished events have their records in this segment now. Calls settled(index) for each event that is finished
  // by now.
  void recorded(Block& block, std::uint64_t segment, const std::function<void(std::uint32_t)>& settled);

  void forget(Block& block) noexcept override;

 private:
  struct Shard {
    std::mutex mutex;
    Block* first = nullptr;  // guarded by mutex, as is the Watch of each of its blocks
  };
  [[nodiscard]] Shard& shard_of(const Block& block) noexcept;

  std::array<Shard, 16> shards_;
  std::atomic<std::uint64_t> events_{0};
};

}  // namespace sluice::backlog
