// The batch. Runs of equal block pointers stand together, since slices do; every loop here goes by runs.
#include "workers/batch.h"

#include <algorithm>

namespace sluice {

namespace {

// The end of the run of equal blocks that begins at `i`.
std::size_t run_end(std::span<Block* const> blocks, std::size_t i) noexcept {
  std::size_t end = i + 1;
  while (end < blocks.size() && blocks[end] == blocks[i]) ++end;
  return end;
}

}  // namespace

Batch::Batch(std::size_t most_events) : most_events_(most_events) {}

void Batch::add(Slice& slice) {
  const std::size_t most = std::min<std::size_t>(slice.count, room());
  std::uint32_t count = 0;
  bool too_many = false;
  for (; count < most; ++count) {
    const std::size_t size = slice.block->payload_size(slice.first + count);
    too_many = size_ + count > 0 && bytes_ + size > kMostBytes;
    if (too_many) break;
    bytes_ += size;
  }
  if (too_many) bytes_ = kMostBytes;  // full: what comes next is a batch of its own, or the order would be lost

  if (deliveries_.size() < size_ + count) {
    deliveries_.resize(size_ + count);
    blocks_.resize(size_ + count);
  }
  slice.block->show(slice.first, std::span(deliveries_).subspan(size_, count));
  std::fill_n(blocks_.begin() + static_cast<std::ptrdiff_t>(size_), count, slice.block);
  size_ += count;
  slice.first += count;
  slice.count -= count;
}

void Batch::clear_verdicts() {
  if (verdicts_.size() < size_) verdicts_.resize(size_);
  for (Verdict& verdict : verdicts()) verdict = Verdict::try_again;
}

void Batch::keep_unfinished(Admission& door) {
  std::size_t kept = 0;
  const std::span<Block* const> blocks(blocks_.data(), size_);
  for (std::size_t i = 0; i < size_;) {
    Block* const block = blocks[i];
    const std::size_t end = run_end(blocks, i);
    const std::size_t begin = kept;
    std::uint32_t finished = 0;
    for (; i < end; ++i) {
      if (verdicts_[i].kind() != Verdict::try_again) {
        ++finished;
        continue;
      }
      deliveries_[kept] = deliveries_[i];
      ++deliveries_[kept].attempt;
      blocks_[kept] = block;
      ++kept;
    }
    if (finished > 0) block->release(finished);
    // Few that are left would pin the whole block until they are through.
    if (kept - begin > 0 && (kept - begin) * 4 <= block->count()) copy_out(begin, kept, door);
  }
  size_ = kept;
  bytes_ = 0;
  for (const Delivery& delivery : deliveries()) bytes_ += delivery.payload.size();
}

void Batch::copy_out(std::size_t from, std::size_t to, Admission& door) {
  // What has no record yet is looked for in its block by a stop that writes it down.
  Block* const old = blocks_[from];
  if (old->watched() && old->home() == 0) return;
  std::vector<Event> events;
  events.reserve(to - from);
  for (std::size_t i = from; i < to; ++i) events.push_back({deliveries_[i].payload, deliveries_[i].content_type});
  auto ticket = door.try_charge(Block::bytes_for(events, {}));
  if (!ticket) return;
  Block* const copy = Block::make(old->memory(), events, std::move(*ticket), {}).release();
  copy->settle_in(old->home());
  const auto count = static_cast<std::uint32_t>(to - from);
  for (std::size_t i = from; i < to; ++i) {
    // Id and time stay as they were; only the bytes move.
    const Delivery moved = copy->delivery(static_cast<std::uint32_t>(i - from));
    deliveries_[i].payload = moved.payload;
    deliveries_[i].content_type = moved.content_type;
  }
  std::fill(blocks_.begin() + static_cast<std::ptrdiff_t>(from), blocks_.begin() + static_cast<std::ptrdiff_t>(to),
            copy);
  old->release(count);
}

void Batch::release_all() noexcept {
  Ticket freed;  // one step at the door, where producers meet, for all blocks
  const std::span<Block* const> blocks(blocks_.data(), size_);
  for (std::size_t i = 0; i < size_;) {
    const std::size_t end = run_end(blocks, i);
    blocks[i]->release(static_cast<std::uint32_t>(end - i), freed);
    i = end;
  }
  size_ = 0;
  bytes_ = 0;
}

}  // namespace sluice
