// See the header.
#include "workers/batch.h"

#include <algorithm>
#include <cassert>
#include <new>

namespace sluice {

Batch::Batch(std::size_t max_events) : max_events_(max_events) {}

// Reserves memory for so many more events and one more run, so that append() does not throw.
void Batch::reserve(std::size_t events) {
  const std::size_t size = size_ + events;
  if (deliveries_.size() < size) deliveries_.resize(size);
  if (verdicts_.size() < size) verdicts_.resize(size);
  if (runs_.size() == runs_.capacity()) runs_.reserve(std::max<std::size_t>(16, 2 * runs_.capacity()));
}

void Batch::append(const Slice& run) noexcept {
  run.block->deliveries(run.first, std::span(deliveries_).subspan(size_, run.count));
  size_ += run.count;
  // Joins neighbours in a block: fewer steps to settle and to release them.
  if (!runs_.empty() && runs_.back().block == run.block && runs_.back().first + runs_.back().count == run.first) {
    runs_.back().count += run.count;
  } else {
    runs_.push_back(run);
  }
}

void Batch::add(Slice& slice) {
  const std::size_t most = std::min<std::size_t>(slice.count, capacity_left());
  std::uint32_t count = 0;
  std::size_t bytes = bytes_;
  for (; count < most; ++count) {
    const std::size_t size = slice.block->payload_size(slice.first + count);
    if (size_ + count > 0 && bytes + size > kMaxBytes) break;
    bytes += size;
  }
  reserve(count);
  // If the next event did not fit, the batch is full: a smaller event after it would change the order.
  bytes_ = count < most ? kMaxBytes : bytes;
  if (count > 0) append({slice.block, slice.first, count});
  slice.first += count;
  slice.count -= count;
}

void Batch::add_again(std::span<const Slice> runs, const History& history) {
  assert(empty() && "an earlier batch stays a batch of its own");
  std::size_t events = 0;
  for (const Slice& run : runs) events += run.count;
  reserve(events);
  if (runs_.capacity() < runs.size()) runs_.reserve(runs.size());
  for (const Slice& run : runs) append(run);
  for (std::size_t i = 0; i < size_; ++i) {
    deliveries_[i].attempt = history.attempt;
    bytes_ += deliveries_[i].payload.size();
  }
  history_ = history;
}

void Batch::clear_verdicts() noexcept {
  for (Verdict& verdict : verdicts()) verdict = Verdict::try_again;
}

void Batch::split(Admission& door, std::vector<Slice>& again, std::vector<Slice>& suspect) {
  again.reserve(again.size() + size_);
  suspect.reserve(suspect.size() + size_);
  Ticket freed;
  std::size_t i = 0;
  for (const Slice& run : runs_) {
    std::uint32_t finished = 0;
    const std::size_t first_again = again.size();
    const std::size_t first_suspect = suspect.size();
    for (std::uint32_t at = run.first; at < run.first + run.count; ++at, ++i) {
      const Verdict::Kind kind = verdicts_[i].kind();
      if (verdicts_[i].is_final()) {
        ++finished;
        continue;
      }
      std::vector<Slice>& to = kind == Verdict::suspect ? suspect : again;
      const std::size_t first = kind == Verdict::suspect ? first_suspect : first_again;
      if (to.size() > first && to.back().first + to.back().count == at) {
        ++to.back().count;
      } else {
        to.push_back({run.block, at, 1});
      }
    }
    const std::uint32_t left = run.count - finished;
    // A few events would keep the whole block in memory until they are finished.
    if (left > 0 && left * 4 <= run.block->count()) {
      copy_out(again, first_again, door);
      copy_out(suspect, first_suspect, door);
    }
    if (finished > 0) run.block->release(finished, freed);
  }
  clear();
}

void Batch::copy_out(std::vector<Slice>& runs, std::size_t first, Admission& door) noexcept {
  if (runs.size() == first) return;
  Block* const old = runs[first].block;
  // A stop searches the block for events that have no record yet, to write them to the journal.
  if (old->watched() && old->segment() == 0) return;
  try {
    std::vector<Event> events;
    std::vector<Delivery> ids;
    for (std::size_t r = first; r < runs.size(); ++r) {
      for (std::uint32_t at = runs[r].first; at < runs[r].first + runs[r].count; ++at) {
        ids.push_back(old->delivery(at));
        events.emplace_back(ids.back().payload, ids.back().content_type);
      }
    }
    constexpr Block::Layout kLayout{.frame = 0, .own_marks = true, .watched = false};
    auto ticket = door.try_charge(Block::bytes_for(events, kLayout));
    if (!ticket) return;
    Block* const copy = Block::make(old->memory(), events, std::move(*ticket), kLayout).release();
    copy->assign_ids(old->run(), ids.front().id.sequence);
    std::uint32_t count = 0;
    for (const Delivery& id : ids) copy->mark(count++, id.id.sequence, id.received);
    copy->set_segment(old->segment());
    runs.resize(first + 1);
    runs.back() = {copy, 0, count};
    old->release(count);
  } catch (const std::bad_alloc&) {
    return;  // then they keep the block
  }
}

void Batch::move_to(std::vector<Slice>& to) noexcept {
  try {
    to.insert(to.end(), runs_.begin(), runs_.end());
  } catch (const std::bad_alloc&) {
    release_all();
    return;
  }
  clear();
}

void Batch::release_all() noexcept {
  Ticket freed;  // returns the bytes of all blocks in one step, because producers contend for the door
  for (const Slice& run : runs_) run.block->release(run.count, freed);
  clear();
}

void Batch::clear() noexcept {
  runs_.clear();
  size_ = 0;
  bytes_ = 0;
  history_ = {};
}

}  // namespace sluice
