// The queue, over moodycamel::ConcurrentQueue, which only this file sees.
// Why no wake-up is missed: a push adds to ready_, then looks at parked_; a worker adds itself to parked_, then looks
// at ready_; both sequentially consistent, so one of them sees the other. A napper needs no such proof: it looks again.
#include "queue/event_queue.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

#include "admission/instant.h"

#ifdef SLUICE_TSAN
#include <deque>
#else
#ifndef __clang__
// Inlined, g++ 12 takes a token without a producer (which it checks for) for a write to address 0.
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif
#include <concurrentqueue/concurrentqueue.h>
#endif

namespace sluice {

namespace {

constexpr std::chrono::milliseconds kNap{1};
constexpr int kNaps = 10;   // idle for 10 ms: not worth a wake-up each millisecond
constexpr int kLooks = 50;  // about 2 µs

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// time_point::max() is for ever.
template <typename Condition>
void wait_for(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, EventQueue::Clock::time_point until,
              Condition condition) {
  if (until == EventQueue::Clock::time_point::max()) {
    changed.wait(lock, condition);
  } else {
    changed.wait_until(lock, until, condition);
  }
}

// The slices of a block, made as they are asked for.
class SliceIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = Slice;
  using difference_type = std::ptrdiff_t;
  using pointer = const Slice*;
  using reference = Slice;

  SliceIterator(Block* block, std::uint32_t most) noexcept : block_(block), most_(most) {}
  Slice operator*() const noexcept { return {block_, first_, std::min(most_, block_->count() - first_)}; }
  SliceIterator& operator++() noexcept {
    first_ += most_;
    return *this;
  }
  SliceIterator operator++(int) noexcept {
    const SliceIterator before = *this;
    ++*this;
    return before;
  }

 private:
  Block* block_;
  std::uint32_t most_;
  std::uint32_t first_ = 0;
};

}  // namespace

#ifdef SLUICE_TSAN

// The twin for ThreadSanitizer, which cannot model the fences below: the same contract behind a mutex.
class EventQueue::Slices {
 public:
  [[nodiscard]] bool put(SliceIterator from, std::size_t n) {
    const std::lock_guard lock(mutex_);
    for (; n > 0; --n) slices_.push_back(*from++);
    return true;
  }
  [[nodiscard]] std::size_t take(std::span<Slice> to) noexcept {
    const std::lock_guard lock(mutex_);
    const std::size_t n = std::min(to.size(), slices_.size());
    std::copy_n(slices_.begin(), n, to.begin());
    slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }

 private:
  std::mutex mutex_;
  std::deque<Slice> slices_;
};

#else

class EventQueue::Slices {
 public:
  // One caller at a time.
  [[nodiscard]] bool put(SliceIterator from, std::size_t n) {
    return n == 1 ? queue_.enqueue(token_, *from) : queue_.enqueue_bulk(token_, from, n);
  }
  [[nodiscard]] std::size_t take(std::span<Slice> to) noexcept {
    return queue_.try_dequeue_bulk_from_producer(token_, to.begin(), to.size());
  }

 private:
  moodycamel::ConcurrentQueue<Slice> queue_;
  moodycamel::ProducerToken token_{queue_};
};

#endif

EventQueue::EventQueue(const RunId& run, std::size_t lot, std::size_t slice_events, std::size_t workers)
    : run_(run),
      lot_(static_cast<std::int64_t>(lot)),
      slice_events_(static_cast<std::uint32_t>(std::clamp<std::size_t>(slice_events, 1, Slice::kMost))),
      slices_(std::make_unique<Slices>()) {
  // Nothing is popped from slices_ while something is here, so there is never more than all workers have popped.
  back_.reserve(workers * kMostPop);
}

EventQueue::~EventQueue() {
  for (const Slice& slice : back_) slice.block->release(slice.count);
  Slice slice{};
  while (slices_->take({&slice, 1}) == 1) slice.block->release(slice.count);
}

EventQueue::Push EventQueue::push(Block::Owner& block, EventId& first) {
  const std::uint32_t count = block->count();
  {
    const std::lock_guard lock(push_mutex_);
    if (closed_.load()) return Push::closed;
    SLUICE_INSTANT(pushing);
    block->number(run_, next_sequence_);
    first = {run_, next_sequence_};
    next_sequence_ += count;
    // Counted before a worker can see it, so that the books never show more finished than accepted.
    // Only written here, under the lock. Release: pairs with accepted(); who saw an event finished sees it accepted.
    const std::uint64_t accepted_before = accepted_.load(std::memory_order_relaxed);
    accepted_.store(accepted_before + count, std::memory_order_release);
    if (!put(*block)) {  // a worker may have it from here
      accepted_.store(accepted_before, std::memory_order_release);
      return Push::no_memory;
    }
    static_cast<void>(block.release());  // the queue's now, and perhaps a worker's already
    SLUICE_INSTANT(put_in);
  }
  tell(count);
  return Push::done;
}

std::uint64_t EventQueue::take_numbers(std::uint64_t count) {
  const std::lock_guard lock(push_mutex_);
  return std::exchange(next_sequence_, next_sequence_ + count);
}

EventQueue::Push EventQueue::push_numbered(Block::Owner& block) {
  const std::uint32_t count = block->count();
  {
    const std::lock_guard lock(push_mutex_);
    if (closed_.load()) return Push::closed;
    SLUICE_INSTANT(pushing);
    if (!put(*block)) return Push::no_memory;
    static_cast<void>(block.release());
  }
  tell(count);
  return Push::done;
}

// Under push_mutex_.
bool EventQueue::put(Block& block) {
  return slices_->put(SliceIterator(&block, slice_events_), (block.count() + slice_events_ - 1) / slice_events_);
}

// Behind a push: wakes whom it must.
void EventQueue::tell(std::int64_t count) {
  const std::int64_t waiting = ready_.fetch_add(count) + count;
  if (napping_.load()) {
    // Once, as the mark is passed.
    if (waiting >= lot_ && waiting - count < lot_) {
      const std::lock_guard lock(wait_mutex_);
      nap_over_ = true;
      nap_.notify_all();  // one naps; others may linger here too
    }
  } else if (parked_.load() > 0) {
    ring_one();
  }
}

std::size_t EventQueue::try_pop(std::span<Slice> slices) noexcept {
  assert(slices.size() <= kMostPop);
  if (closed_.load()) return 0;
  std::size_t n = back_size_.load() > 0 ? take_back(slices) : 0;
  if (n < slices.size()) n += slices_->take(slices.subspan(n));
  if (n == 0) return 0;
  std::int64_t events = 0;
  for (const Slice& slice : slices.first(n)) events += slice.count;
  if (ready_.fetch_sub(events) > events && parked_.load() > 0) ring_one();
  return n;
}

std::size_t EventQueue::take_back(std::span<Slice> slices) noexcept {
  const std::lock_guard lock(back_mutex_);
  const std::size_t n = std::min(slices.size(), back_.size());
  std::copy_n(back_.begin(), n, slices.begin());
  back_.erase(back_.begin(), back_.begin() + static_cast<std::ptrdiff_t>(n));
  back_size_.store(back_.size());
  return n;
}

void EventQueue::put_back(std::span<const Slice> slices) noexcept {
  std::int64_t events = 0;
  for (const Slice& slice : slices) events += slice.count;
  {
    const std::lock_guard lock(back_mutex_);
    assert(back_.size() + slices.size() <= back_.capacity() && "more is put back than was popped");
    back_.insert(back_.begin(), slices.begin(), slices.end());
    back_size_.store(back_.size());
  }
  ready_.fetch_add(events);
  if (!napping_.load() && parked_.load() > 0) ring_one();
}

void EventQueue::ring_one() {
  const std::lock_guard lock(wait_mutex_);
  if (parked_.load() == 0) return;
  parked_.fetch_sub(1);  // by who rings, so that nobody is rung twice
  ++rings_;
  park_.notify_one();
}

void EventQueue::wait(std::uint64_t seen, Clock::time_point until) {
  const auto called = [this, seen] { return closed_.load() || nudges_.load() != seen; };
  const auto look = [&] { return ready_.load() > 0 || called(); };
  for (int i = 0; i < kLooks; ++i) {
    if (look()) return;
    relax();
  }
  std::unique_lock lock(wait_mutex_);
  if (!napping_.load()) {
    napping_.store(true);
    for (int i = 0; i < kNaps && !look(); ++i) {
      const auto now = Clock::now();
      if (now >= until) break;
      nap_over_ = false;
      nap_.wait_until(lock, std::min(until, now + kNap), [&] { return nap_over_ || called(); });
    }
    napping_.store(false);
  }
  SLUICE_INSTANT(parking);
  parked_.fetch_add(1);
  if (look()) {
    parked_.fetch_sub(1);
    return;
  }
  wait_for(park_, lock, until, [&] { return rings_ > 0 || called(); });
  // Whoever goes takes a ring along, if there is one, instead of another that was meant: it looks instead of that one.
  if (rings_ > 0) {
    --rings_;
  } else {
    parked_.fetch_sub(1);
  }
}

void EventQueue::wait_nudge(std::uint64_t seen, Clock::time_point until) {
  std::unique_lock lock(wait_mutex_);
  wait_for(held_, lock, until, [this, seen] { return closed_.load() || nudges_.load() != seen; });
}

void EventQueue::nudge() {
  const std::lock_guard lock(wait_mutex_);
  nudges_.fetch_add(1);
  nap_.notify_all();
  park_.notify_all();
  held_.notify_all();
}

bool EventQueue::wait_linger(std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(wait_mutex_);
  // Looks each millisecond instead of being told: lingering is for those who can wait.
  for (auto now = std::chrono::steady_clock::now(); ready_.load() <= 0 && now < until;
       now = std::chrono::steady_clock::now()) {
    if (nap_.wait_until(lock, std::min(until, now + kNap), [this] { return hurried_ || closed_.load(); })) break;
  }
  return !hurried_ && !closed_.load();
}

void EventQueue::hurry() {
  const std::lock_guard lock(wait_mutex_);
  hurried_ = true;
  nudges_.fetch_add(1);
  nap_.notify_all();
  park_.notify_all();
  held_.notify_all();
}

void EventQueue::close() {
  {
    // Under the producers' lock: behind it no push is half way.
    const std::lock_guard lock(push_mutex_);
    closed_.store(true);
  }
  const std::lock_guard lock(wait_mutex_);
  nap_.notify_all();
  park_.notify_all();
  held_.notify_all();
}

std::size_t EventQueue::size_approx() const noexcept {
  return static_cast<std::size_t>(std::max<std::int64_t>(0, ready_.load()));
}

}  // namespace sluice
