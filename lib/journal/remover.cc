// See the header.
#include "journal/remover.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

namespace sluice::journal {

// Under the table's lock.
Remover::Dependants Remover::find_dependants() const {
  Dependants found;
  for (const auto& [number, segment] : table_.all()) {
    if (!segment->written.sealed) found.unsealed.insert(segment->header.seed);
    if (!segment->feed.absent.empty()) found.moved_from.push_back(segment.get());
  }
  return found;
}

// Other events would come back to life without it: the originals of its copies, if their segment is still there; or
// what its predecessor was answered "unknown" about, if only this one's header says where the predecessor ends. Under
// the table's lock.
bool Remover::is_needed(const Segment& segment, const Dependants& dependants) {
  if (segment.header.kind == SegmentKind::taken) {
    return segment.header.predecessor != 0 && dependants.unsealed.contains(segment.header.predecessor_seed);
  }
  return std::ranges::any_of(dependants.moved_from, [&](const Segment* other) {
    bool holds = false;
    const bool newer = other->header.kind == SegmentKind::copies && other->number >= segment.number;
    if (newer || !(other->header.run == segment.header.run)) return false;
    other->feed.absent.each_within(segment.written.first_sequence, segment.written.last_sequence + 1,
                                   [&](std::uint64_t, std::uint64_t) { holds = true; });
    return holds;
  });
}

// Called after each commit: if nothing is finished it costs one look at each segment.
std::vector<SegmentPtr> Remover::find_finished() {
  std::vector<SegmentPtr> finished;
  const std::lock_guard lock(table_.mutex());
  cursor_.normalize();
  for (const auto& [number, segment] : table_.all()) {
    if (segment != table_.active() && segment->feed.is_finished()) finished.push_back(segment);
  }
  if (finished.empty()) return finished;
  const std::unordered_set<const Segment*> unfed = cursor_.unfed();
  const Dependants dependants = find_dependants();
  std::erase_if(finished, [&](const SegmentPtr& segment) {
    return unfed.contains(segment.get()) || is_needed(*segment, dependants);
  });
  return finished;
}

bool Remover::remove_finished() {
  bool any = false;
  while (remove(find_finished())) any = true;  // when an original is gone, its copies may go
  return any;
}

// False: its name is still there. If somebody else has removed it, that will do.
bool Remover::remove_name(const Segment& segment) {
  const std::string name = segment_name(segment.number);
  const std::error_code error =
      segment.feed.damaged ? context_.disk.rename(name, damaged_name(segment.number)) : context_.disk.unlink(name);
  if (error && error != std::errc::no_such_file_or_directory) return false;
  if (segment.feed.damaged && !error) {
    context_.log(LogLevel::warn, fmt::format("a damaged segment is set aside file={}", damaged_name(segment.number)));
  }
  return true;
}

// True if any is gone for good.
bool Remover::remove(const std::vector<SegmentPtr>& finished) {
  if (finished.empty() || rewriter_.remove_unmade()) return false;
  context_.disk.pass(Instant::before_unlink);
  std::vector<SegmentPtr> removed;
  for (const SegmentPtr& segment : finished) {
    if (remove_name(*segment)) removed.push_back(segment);
  }
  // Only when the segment is gone for good: without its settles, or its copies, it would come back to life.
  if (removed.empty() || context_.disk.sync_directory()) return false;
  context_.disk.pass(Instant::after_unlink);
  for (const SegmentPtr& segment : removed) {
    static_cast<void>(context_.disk.unlink(settled_name(segment->number)));
    budget_.charge(*segment, 0);
    const std::lock_guard lock(table_.mutex());
    table_.erase(segment->number);
  }
  return true;
}

}  // namespace sluice::journal
