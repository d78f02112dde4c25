// See the header.
#include "journal/settles.h"

#include <mutex>
#include <utility>

#include "journal/named_file.h"

namespace sluice::journal {

void Settles::settle(std::uint64_t number, std::uint64_t first, std::uint64_t count) {
  if (count > 1 && table_.has_moved(number)) {
    for (std::uint64_t i = 0; i < count; ++i) settle(number, first + i, 1);  // rare: some of them are elsewhere now
    return;
  }
  const std::lock_guard lock(table_.mutex());
  const SegmentPtr segment = table_.find(table_.home_of(number, first));
  if (!segment || segment->feed.finished.add(first, count) == 0) return;
  segment->settles.add(first, count);
  unwritten_ = true;
}

void Settles::adopted(const Segment& segment) {
  dirty_ = dirty_ || segment.settles.dirty();
  unwritten_ = unwritten_ || segment.settles.has_unwritten();
}

std::error_code Settles::write() {
  if (!unwritten_) return {};
  context_.disk.pass(Instant::before_settle);
  std::error_code first;
  bool left = false;
  for (const auto& [number, segment] : table_.all()) {
    if (!segment->settles.has_unwritten()) continue;
    // Also of a segment that is about to be removed: until that has lasted, its events would come once more.
    if (const auto error = segment->settles.write(context_.disk, *segment)) {
      if (!first) first = error;
      left = true;
      continue;
    }
    dirty_ = true;
  }
  unwritten_ = left;
  if (!first) context_.disk.pass(Instant::after_settle);
  return first;
}

std::error_code Settles::sync() {
  std::vector<SettleSync> dirty;
  std::error_code first = begin_sync(dirty);
  for (SettleSync& one : dirty) sync_file(one);
  if (const auto error = end_sync(dirty); error && !first) first = error;
  return first;
}

std::error_code Settles::begin_sync(std::vector<SettleSync>& dirty) {
  std::error_code first = write();
  if (const auto error = rewriter_.remove_unmade(); error && !first) first = error;
  if (!dirty_) return first;
  for (const auto& [number, segment] : table_.all()) {
    // Later writes belong to the next sync.
    if (auto file = segment->settles.take_dirty()) dirty.push_back({segment, std::move(file), {}});
  }
  dirty_ = false;
  syncing_ = !dirty.empty();
  return first;
}

void Settles::sync_file(SettleSync& one) { one.error = sync_named(*one.file); }

std::error_code Settles::end_sync(std::span<const SettleSync> synced) {
  syncing_ = false;
  std::error_code first;
  for (const auto& [segment, file, error] : synced) {
    // Meanwhile it may have been removed with its segment, or was made anew, and synced.
    if (!error || !table_.find(segment->number)) continue;
    if (!segment->settles.sync_failed(file, segment->feed.finished)) continue;
    unwritten_ = true;
    if (!first) first = error;
  }
  return first;
}

}  // namespace sluice::journal
