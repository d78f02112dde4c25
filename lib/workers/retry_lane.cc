// See the header.
#include "workers/retry_lane.h"

#include <algorithm>
#include <new>
#include <utility>

#include "admission/instant.h"
#include "workers/backoff.h"

namespace sluice {

namespace {

constexpr auto kLater = [](const auto& a, const auto& b) { return a.due > b.due; };

void release(std::span<const Slice> runs) noexcept {
  for (const Slice& run : runs) run.block->release(run.count);
}

// Splits the runs after the first `events` events.
std::pair<std::vector<Slice>, std::vector<Slice>> cut(std::span<const Slice> runs, std::size_t events) {
  std::pair<std::vector<Slice>, std::vector<Slice>> parts;
  for (const Slice& run : runs) {
    const auto first = static_cast<std::uint32_t>(std::min<std::size_t>(events, run.count));
    if (first > 0) parts.first.push_back({run.block, run.first, first});
    if (first < run.count) parts.second.push_back({run.block, run.first + first, run.count - first});
    events -= first;
  }
  return parts;
}

}  // namespace

RetryLane::~RetryLane() {
  for (const Entry& entry : entries_) release(entry.runs());
  release(kept_);
}

RetryLane::Entry RetryLane::entry_of(std::span<const Slice> runs, const History& history) {
  Entry entry;
  entry.history = history;
  entry.count = static_cast<std::uint32_t>(runs.size());
  for (const Slice& run : runs) entry.events += run.count;
  if (runs.size() == 1) {
    entry.one = runs.front();
  } else {
    entry.more = std::make_unique<Slice[]>(runs.size());
    std::ranges::copy(runs, entry.more.get());
  }
  return entry;
}

void RetryLane::put(std::span<const Slice> runs, const History& history, std::chrono::nanoseconds wait,
                    bool in_halves) {
  std::size_t events = 0;
  for (const Slice& run : runs) events += run.count;
  std::vector<Entry> entries;
  if (in_halves && events > 1) {
    const auto [first, second] = cut(runs, (events + 1) / 2);
    entries.push_back(entry_of(first, history));
    entries.push_back(entry_of(second, history));
  } else {
    entries.push_back(entry_of(runs, history));
  }
  const std::lock_guard lock(mutex_);
  if (entries_.capacity() < entries_.size() + entries.size()) {
    entries_.reserve(std::max<std::size_t>(16, 2 * entries_.capacity()));
  }
  const auto due = backoff::after(Clock::now(), wait, deadline_);
  for (Entry& entry : entries) {
    entry.due = due;
    insert(std::move(entry));
  }
  events_.fetch_add(events);
  publish_first();
}

// mutex_ is held, and capacity is reserved.
void RetryLane::insert(Entry entry) noexcept {
  entries_.push_back(std::move(entry));
  std::ranges::push_heap(entries_, kLater);
}

// mutex_ is held.
void RetryLane::publish_first() noexcept {
  const auto due = entries_.empty() ? Clock::time_point::max() : entries_.front().due;
  next_due_.store(due.time_since_epoch().count());
  batches_.store(entries_.size());
}

bool RetryLane::try_take(Clock::time_point by, Batch& to) {
  if (next_due() > by) return false;
  SLUICE_INSTANT(lane_looked);
  const std::lock_guard lock(mutex_);
  if (entries_.empty() || entries_.front().due > by) return false;
  to.add_again(entries_.front().runs(), entries_.front().history);
  std::ranges::pop_heap(entries_, kLater);
  events_.fetch_sub(entries_.back().events);
  entries_.pop_back();
  publish_first();
  return true;
}

void RetryLane::hurry(Clock::time_point now, Clock::time_point deadline, std::uint64_t delivered) {
  const std::lock_guard lock(mutex_);
  deadline_ = std::min(deadline_, deadline);
  const auto cut = backoff::after(now, std::chrono::nanoseconds::max(), deadline_);
  for (Entry& entry : entries_) {
    const bool sink_works =
        entry.history.suspect || entry.history.passed_over > 0 || delivered > entry.history.delivered_then;
    entry.due = std::min(entry.due, sink_works ? now : cut);
  }
  std::ranges::make_heap(entries_, kLater);
  publish_first();
}

void RetryLane::keep(std::vector<Slice>& runs) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    kept_.insert(kept_.end(), runs.begin(), runs.end());
  } catch (const std::bad_alloc&) {
    release(runs);
  }
  runs.clear();
}

}  // namespace sluice
