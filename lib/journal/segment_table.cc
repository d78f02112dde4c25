// See the header.
#include "journal/segment_table.h"

#include <algorithm>
#include <utility>

namespace sluice::journal {

SegmentPtr SegmentTable::find(std::uint64_t number) const {
  const auto at = segments_.find(number);
  return at == segments_.end() ? nullptr : at->second;
}

std::vector<SegmentPtr> SegmentTable::in_order() const {
  std::vector<SegmentPtr> all;
  for (const auto& [number, segment] : segments_) all.push_back(segment);
  std::ranges::sort(all, [](const SegmentPtr& a, const SegmentPtr& b) { return turn_of(*a) < turn_of(*b); });
  return all;
}

std::uint64_t SegmentTable::physical_bytes() const {
  std::uint64_t bytes = budget_.others();
  for (const auto& [number, segment] : segments_) bytes += segment->disk_bytes();
  return bytes;
}

void SegmentTable::enter(const SegmentPtr& segment) {
  segments_[segment->number] = segment;
  budget_.set_segments(segments_.size());
}

void SegmentTable::erase(std::uint64_t number) {
  segments_.erase(number);
  budget_.set_segments(segments_.size());
  // Everything that moved there is finished, so nobody asks any more where it is.
  for (auto& [home, redirects] : redirects_) {
    std::erase_if(redirects, [&](const Redirect& one) { return one.to == number; });
  }
  std::erase_if(redirects_, [](const auto& entry) { return entry.second.empty(); });
}

void SegmentTable::activate(const SegmentPtr& segment) {
  active_ = segment;
  enter(segment);
}

void SegmentTable::move(Segment& from, const IntervalSet& events, const SegmentPtr& copies) {
  enter(copies);
  from.feed.events -= std::min(from.feed.events, events.size());
  from.feed.absent.add(events);
  from.feed.skip.add(events);
  // An older home of theirs leads straight here: an event that its sink never takes moves without end, and must not
  // leave a trail of redirects.
  for (auto& [home, redirects] : redirects_) {
    for (std::size_t i = redirects.size(); i-- > 0;) {
      if (redirects[i].to != from.number) continue;
      IntervalSet here = redirects[i].events.common(events);
      if (here.empty()) continue;
      redirects[i].events = redirects[i].events.without(here);
      redirects.push_back({std::move(here), copies->number});
    }
    std::erase_if(redirects, [](const Redirect& one) { return one.events.empty(); });
  }
  if (from.is_home) redirects_[from.number].push_back({events, copies->number});
}

std::uint64_t SegmentTable::home_of(std::uint64_t segment, std::uint64_t sequence) const {
  const auto moved = redirects_.find(segment);
  if (moved == redirects_.end()) return segment;
  const auto to =
      std::ranges::find_if(moved->second, [&](const Redirect& one) { return one.events.contains(sequence); });
  return to == moved->second.end() ? segment : to->to;
}

SegmentPtr SegmentTable::last_of_earlier_runs() const {
  SegmentPtr last;
  for (const auto& [number, segment] : segments_) {
    if (segment->header.kind == SegmentKind::taken && segment->header.ordinal < ordinal_) last = segment;
  }
  return last;
}

}  // namespace sluice::journal
