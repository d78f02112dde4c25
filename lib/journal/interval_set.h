// A set of numbers, stored as intervals: the finished events of a segment. Small as long as events finish more or less
// in order. One thread at a time, or under a lock of its owner.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace sluice::journal {

class IntervalSet {
 public:
  // Adds [first, first + count); returns how many of them are new.
  std::uint64_t add(std::uint64_t first, std::uint64_t count) {
    if (count == 0) return 0;
    std::uint64_t begin = first;
    std::uint64_t end = first + count;
    std::uint64_t known = 0;
    auto next = ends_.upper_bound(begin);  // the first interval that begins after `begin`
    if (next != ends_.begin() && std::prev(next)->second >= begin) --next;
    while (next != ends_.end() && next->first <= end) {
      const std::uint64_t from = std::max(next->first, first);
      const std::uint64_t to = std::min(next->second, first + count);
      if (to > from) known += to - from;
      begin = std::min(begin, next->first);
      end = std::max(end, next->second);
      next = ends_.erase(next);
    }
    ends_.emplace_hint(next, begin, end);
    size_ += count - known;
    return count - known;
  }

  [[nodiscard]] bool contains(std::uint64_t number) const {
    const auto next = ends_.upper_bound(number);
    return next != ends_.begin() && std::prev(next)->second > number;
  }
  // The first element that is not less than `from`; UINT64_MAX: none.
  [[nodiscard]] std::uint64_t next(std::uint64_t from) const {
    if (contains(from)) return from;
    const auto next = ends_.upper_bound(from);
    return next == ends_.end() ? UINT64_MAX : next->first;
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t intervals() const noexcept { return ends_.size(); }
  void clear() noexcept {
    ends_.clear();
    size_ = 0;
  }

  // The intersection; the difference.
  [[nodiscard]] IntervalSet common(const IntervalSet& other) const {
    IntervalSet both;
    each([&](std::uint64_t first, std::uint64_t count) {
      other.each_within(first, first + count, [&](std::uint64_t from, std::uint64_t n) { both.add(from, n); });
    });
    return both;
  }
  [[nodiscard]] IntervalSet without(const IntervalSet& other) const {
    IntervalSet rest;
    each([&](std::uint64_t first, std::uint64_t count) {
      std::uint64_t at = first;
      other.each_within(first, first + count, [&](std::uint64_t from, std::uint64_t n) {
        rest.add(at, from - at);
        at = from + n;
      });
      rest.add(at, first + count - at);
    });
    return rest;
  }
  void add(const IntervalSet& other) {
    other.each([this](std::uint64_t first, std::uint64_t count) { add(first, count); });
  }

  // Calls visit(first, count) in order, for the parts of intervals within [begin, end).
  template <typename Visit>
  void each_within(std::uint64_t begin, std::uint64_t end, Visit visit) const {
    auto at = ends_.upper_bound(begin);
    if (at != ends_.begin()) --at;
    for (; at != ends_.end() && at->first < end; ++at) {
      const std::uint64_t from = std::max(begin, at->first);
      const std::uint64_t to = std::min(end, at->second);
      if (to > from) visit(from, to - from);
    }
  }

  // Calls visit(first, count) for each interval, in order.
  template <typename Visit>
  void each(Visit visit) const {
    for (const auto& [begin, end] : ends_) visit(begin, end - begin);
  }

 private:
  std::map<std::uint64_t, std::uint64_t> ends_;  // begin -> end (exclusive); they neither overlap nor touch
  std::uint64_t size_ = 0;
};

}  // namespace sluice::journal
