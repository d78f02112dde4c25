// The queue, on top of moodycamel::ConcurrentQueue, which only this file includes.
// No wake-up is missed: a push adds to ready_ and then reads parked_; a worker adds itself to parked_ and then reads
// ready_; both are sequentially consistent, so one of them sees the other. A napping worker polls, and needs no proof.
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
// Once inlined, g++ 12 takes a token without a producer (which the code checks for) for a write to address 0.
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif
#include <concurrentqueue/concurrentqueue.h>
#endif

namespace sluice {

namespace {

constexpr std::chrono::milliseconds kNap{1};
constexpr int kNaps = 10;   // idle for 10 ms: not worth a wake-up each millisecond
constexpr int kPolls = 50;  // about 2 µs

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// time_point::max() means without a timeout.
template <typename Condition>
void wait_for(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, EventQueue::Clock::time_point until,
              Condition condition) {
  if (until == EventQueue::Clock::time_point::max()) {
    changed.wait(lock, condition);
  } else {
    changed.wait_until(lock, until, condition);
  }
}

// The slices of a block, computed on demand.
class SliceIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = Slice;
  using difference_type = std::ptrdiff_t;
  using pointer = const Slice*;
  using reference = Slice;

  SliceIterator(Block* block, std::uint32_t slice_events) noexcept : block_(block), slice_events_(slice_events) {}
  Slice operator*() const noexcept { return {block_, first_, std::min(slice_events_, block_->count() - first_)}; }
  SliceIterator& operator++() noexcept {
    first_ += slice_events_;
    return *this;
  }
  SliceIterator operator++(int) noexcept {
    const SliceIterator before = *this;
    ++*this;
    return before;
  }

 private:
  Block* block_;
  std::uint32_t slice_events_;
  std::uint32_t first_ = 0;
};

}  // namespace

#ifdef SLUICE_TSAN

// A stand-in for ThreadSanitizer, which cannot model the fences of the queue below: the same contract with a mutex.
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
      slice_events_(static_cast<std::uint32_t>(std::clamp<std::size_t>(slice_events, 1, Slice::kMaxEvents))),
      slices_(std::make_unique<Slices>()) {
  // Slices are popped from slices_ only while returned_ is empty, so all workers together return at most this.
  returned_.reserve(workers * kMaxPop);
}

EventQueue::~EventQueue() {
  for (const Slice& slice : returned_) slice.block->release(slice.count);
  Slice slice{};
  while (slices_->take({&slice, 1}) == 1) slice.block->release(slice.count);
}

EventQueue::Push EventQueue::push(Block::Owner& block, EventId& first) {
  const std::uint32_t count = block->count();
  {
    const std::lock_guard lock(push_mutex_);
    if (closed_.load()) return Push::closed;
    SLUICE_INSTANT(pushing);
    block->assign_ids(run_, next_sequence_);
    first = {run_, next_sequence_};
    next_sequence_ += count;
    // Count before a worker can see the block, so that the books never show more finished than accepted events.
    // Only written here, under the lock. Release: pairs with accepted(); a reader that saw an event finished sees it
    // accepted.
    const std::uint64_t accepted_before = accepted_.load(std::memory_order_relaxed);
    accepted_.store(accepted_before + count, std::memory_order_release);
    if (!enqueue(*block)) {  // a worker may have it from here
      accepted_.store(accepted_before, std::memory_order_release);
      return Push::no_memory;
    }
    static_cast<void>(block.release());  // the queue owns it now, or a worker already
    SLUICE_INSTANT(put_in);
  }
  wake_for(count);
  return Push::done;
}

std::uint64_t EventQueue::reserve_ids(std::uint64_t count) {
  const std::lock_guard lock(push_mutex_);
  return std::exchange(next_sequence_, next_sequence_ + count);
}

EventQueue::Push EventQueue::push_with_ids(Block::Owner& block) {
  const std::uint32_t count = block->count();
  {
    const std::lock_guard lock(push_mutex_);
    if (closed_.load()) return Push::closed;
    SLUICE_INSTANT(pushing);
    if (!enqueue(*block)) return Push::no_memory;
    static_cast<void>(block.release());
  }
  wake_for(count);
  return Push::done;
}

// push_mutex_ is held.
bool EventQueue::enqueue(Block& block) {
  return slices_->put(SliceIterator(&block, slice_events_), (block.count() + slice_events_ - 1) / slice_events_);
}

// After a push: wakes a worker if one must be woken.
void EventQueue::wake_for(std::int64_t count) {
  const std::int64_t waiting = ready_.fetch_add(count) + count;
  if (napping_.load()) {
    // Only by the push that reaches the lot.
    if (waiting >= lot_ && waiting - count < lot_) {
      const std::lock_guard lock(wait_mutex_);
      nap_over_ = true;
      napping_worker_.notify_all();  // lingering workers wait here too
    }
  } else if (parked_.load() > 0) {
    wake_one();
  }
}

std::size_t EventQueue::try_pop(std::span<Slice> slices) noexcept {
  assert(slices.size() <= kMaxPop);
  if (closed_.load()) return 0;
  std::size_t n = returned_size_.load() > 0 ? pop_returned(slices) : 0;
  if (n < slices.size()) n += slices_->take(slices.subspan(n));
  if (n == 0) return 0;
  std::int64_t events = 0;
  for (const Slice& slice : slices.first(n)) events += slice.count;
  if (ready_.fetch_sub(events) > events && parked_.load() > 0) wake_one();
  return n;
}

std::size_t EventQueue::pop_returned(std::span<Slice> slices) noexcept {
  const std::lock_guard lock(returned_mutex_);
  const std::size_t n = std::min(slices.size(), returned_.size());
  std::copy_n(returned_.begin(), n, slices.begin());
  returned_.erase(returned_.begin(), returned_.begin() + static_cast<std::ptrdiff_t>(n));
  returned_size_.store(returned_.size());
  return n;
}

void EventQueue::put_back(std::span<const Slice> slices) noexcept {
  std::int64_t events = 0;
  for (const Slice& slice : slices) events += slice.count;
  {
    const std::lock_guard lock(returned_mutex_);
    assert(returned_.size() + slices.size() <= returned_.capacity() && "more was put back than popped");
    returned_.insert(returned_.begin(), slices.begin(), slices.end());
    returned_size_.store(returned_.size());
  }
  ready_.fetch_add(events);
  if (!napping_.load() && parked_.load() > 0) wake_one();
}

void EventQueue::wake_one() {
  const std::lock_guard lock(wait_mutex_);
  if (parked_.load() == 0) return;
  parked_.fetch_sub(1);  // here, so that no worker is woken twice
  ++wakes_;
  parked_workers_.notify_one();
}

void EventQueue::wait(std::uint64_t seen, Clock::time_point until) {
  const auto called = [this, seen] { return closed_.load() || nudges_.load() != seen; };
  const auto look = [&] { return ready_.load() > 0 || called(); };
  for (int i = 0; i < kPolls; ++i) {
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
      napping_worker_.wait_until(lock, std::min(until, now + kNap), [&] { return nap_over_ || called(); });
    }
    napping_.store(false);
  }
  SLUICE_INSTANT(parking);
  parked_.fetch_add(1);
  if (look()) {
    parked_.fetch_sub(1);
    return;
  }
  wait_for(parked_workers_, lock, until, [&] { return wakes_ > 0 || called(); });
  // A worker that leaves for another reason consumes a pending wake-up: it looks in place of the worker that was meant.
  if (wakes_ > 0) {
    --wakes_;
  } else {
    parked_.fetch_sub(1);
  }
}

void EventQueue::wait_nudge(std::uint64_t seen, Clock::time_point until) {
  std::unique_lock lock(wait_mutex_);
  wait_for(paused_workers_, lock, until, [this, seen] { return closed_.load() || nudges_.load() != seen; });
}

void EventQueue::nudge() {
  const std::lock_guard lock(wait_mutex_);
  nudges_.fetch_add(1);
  napping_worker_.notify_all();
  parked_workers_.notify_all();
  paused_workers_.notify_all();
}

bool EventQueue::wait_linger(std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(wait_mutex_);
  // Polls each millisecond instead of being woken: a batch that lingers can wait.
  for (auto now = std::chrono::steady_clock::now(); ready_.load() <= 0 && now < until;
       now = std::chrono::steady_clock::now()) {
    if (napping_worker_.wait_until(lock, std::min(until, now + kNap), [this] { return hurried_ || closed_.load(); }))
      break;
  }
  return !hurried_ && !closed_.load();
}

void EventQueue::hurry() {
  const std::lock_guard lock(wait_mutex_);
  hurried_ = true;
  nudges_.fetch_add(1);
  napping_worker_.notify_all();
  parked_workers_.notify_all();
  paused_workers_.notify_all();
}

void EventQueue::close() {
  {
    // Under the producers' lock, so that no push is half done afterwards.
    const std::lock_guard lock(push_mutex_);
    closed_.store(true);
  }
  const std::lock_guard lock(wait_mutex_);
  napping_worker_.notify_all();
  parked_workers_.notify_all();
  paused_workers_.notify_all();
}

std::size_t EventQueue::size_approx() const noexcept {
  return static_cast<std::size_t>(std::max<std::int64_t>(0, ready_.load()));
}

}  // namespace sluice
