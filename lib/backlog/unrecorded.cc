// Intrusive lists under a lock each. Whether an event was finished before or after its record was written is decided
// under that lock, so each is counted once.
#include "backlog/unrecorded.h"

#include <cassert>

namespace sluice::backlog {

namespace {

bool is_set(std::span<const std::uint64_t> bits, std::uint32_t i) noexcept {
  return (bits[i / 64] >> (i % 64) & 1U) != 0;
}

}  // namespace

Unrecorded::Shard& Unrecorded::shard_of(const Block& block) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(&block);
  return shards_[(address >> 6U ^ address >> 12U) % shards_.size()];
}

void Unrecorded::watch(Block& block) {
  Shard& shard = shard_of(block);
  const std::lock_guard lock(shard.mutex);
  block.watch() = {.by = this, .previous = nullptr, .next = shard.first, .unfinished = block.count()};
  if (shard.first != nullptr) shard.first->watch().previous = &block;
  shard.first = &block;
  events_.fetch_add(block.count());
}

void Unrecorded::forget(Block& block) noexcept {
  Shard& shard = shard_of(block);
  const std::lock_guard lock(shard.mutex);
  Block::Watch& watch = block.watch();
  if (watch.by == nullptr) return;
  (watch.previous != nullptr ? watch.previous->watch().next : shard.first) = watch.next;
  if (watch.next != nullptr) watch.next->watch().previous = watch.previous;
  watch = {};
}

void Unrecorded::unwatch(Block& block) noexcept {
  events_.fetch_sub(block.count());
  forget(block);
}

std::uint64_t Unrecorded::finish(Block& block, std::uint32_t first, std::uint32_t count) noexcept {
  Shard& shard = shard_of(block);
  const std::lock_guard lock(shard.mutex);
  const auto bits = block.finished_bits();
  std::uint32_t fresh = 0;
  for (std::uint32_t i = first; i < first + count; ++i) {
    if (is_set(bits, i)) continue;
    bits[i / 64] |= std::uint64_t{1} << (i % 64);
    ++fresh;
  }
  block.watch().unfinished -= fresh;
  if (block.home() == 0) events_.fetch_sub(fresh);
  return block.home();
}

std::vector<Block*> Unrecorded::hold_all() {
  std::vector<Block*> held;
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    for (Block* block = shard.first; block != nullptr; block = block->watch().next) {
      if (block->home() == 0 && block->watch().unfinished > 0 && block->try_hold()) held.push_back(block);
    }
  }
  return held;
}

void Unrecorded::each_unfinished(Block& block, const std::function<void(std::uint32_t)>& visit) {
  Shard& shard = shard_of(block);
  const std::lock_guard lock(shard.mutex);
  for (std::uint32_t i = 0; i < block.count(); ++i) {
    if (!is_set(block.finished_bits(), i)) visit(i);
  }
}

void Unrecorded::recorded(Block& block, std::uint64_t segment, const std::function<void(std::uint32_t)>& settled) {
  Shard& shard = shard_of(block);
  const std::lock_guard lock(shard.mutex);
  assert(block.home() == 0);
  block.settle_in(segment);
  events_.fetch_sub(block.watch().unfinished);
  for (std::uint32_t i = 0; i < block.count(); ++i) {
    if (is_set(block.finished_bits(), i)) settled(i);
  }
}

}  // namespace sluice::backlog
