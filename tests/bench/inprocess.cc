// In-process: what an event costs from track() to its sink, and what it costs in the queues that one would take
// instead. Workers take events to a sink that does nothing; a queue's consumers take 64-byte elements out as they were
// put in, 64 at once or one by one, without tokens, since callers of track() have none.
//
//   bench_inprocess sluice|moodycamel|mutex [threads=1] [bulk=64] [seconds=0.5]
#include <concurrentqueue/concurrentqueue.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "bench/inprocess.h"
#include "sluice/tracker.h"

namespace {

using bench::Case;
using bench::Cost;
using bench::Element;
using bench::kBulk;
using bench::kMostOutstanding;

class DevNull final : public sluice::Sink {
 public:
  void deliver(std::span<const sluice::Delivery> /*batch*/, std::span<sluice::Verdict> verdicts,
               std::stop_token /*stop*/) override {
    for (sluice::Verdict& verdict : verdicts) verdict = sluice::Verdict::delivered;
  }
};

// From the first track() to the last delivery.
Cost sluice_cost(const Case& what) {
  sluice::Options options;
  options.workers = what.threads;
  options.queue_events = kMostOutstanding;
  sluice::Tracker tracker(options, [](const sluice::SinkContext&) { return std::make_unique<DevNull>(); });
  const Element payload{};
  const std::vector<sluice::Event> events(what.bulk, {payload, "application/octet-stream"});

  const bench::Watch watch;
  const std::size_t pushed = bench::produce(what, [&] {
    for (std::size_t i = 0; i < kBulk; i += what.bulk) {
      while (tracker.track(events) != sluice::Admit::accepted) std::this_thread::yield();
    }
  });
  const sluice::Report report = tracker.shutdown(std::chrono::minutes{1});
  const Cost each = watch.each(pushed);
  if (report.books.delivered != pushed) throw std::runtime_error("not all delivered: " + to_string(report));
  return each;
}

// moodycamel's queue alone: it has neither a bound nor a way to wait, so this counts what is outstanding and yields.
class Moodycamel {
 public:
  void put(std::span<const Element> elements) {
    while (put_.load() - taken_.load() > kMostOutstanding - kBulk) std::this_thread::yield();
    put_ += elements.size();
    const bool room = elements.size() == 1 ? queue_.enqueue(elements.front())
                                           : queue_.enqueue_bulk(elements.begin(), elements.size());
    if (!room) std::abort();  // no memory
  }
  // Nothing if there is nothing now.
  std::size_t take(std::span<Element> into) {
    const std::size_t n = into.size() == 1 ? std::size_t{queue_.try_dequeue(into.front())}
                                           : queue_.try_dequeue_bulk(into.begin(), into.size());
    if (n == 0) std::this_thread::yield();
    taken_ += n;
    return n;
  }

 private:
  moodycamel::ConcurrentQueue<Element> queue_;
  std::atomic<std::size_t> put_{0};
  std::atomic<std::size_t> taken_{0};
};

// What everybody writes first.
class MutexAndDeque {
 public:
  void put(std::span<const Element> elements) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return queue_.size() <= kMostOutstanding - kBulk; });
      queue_.insert(queue_.end(), elements.begin(), elements.end());
    }
    changed_.notify_one();
  }
  // Waits a little, so that the end is seen.
  std::size_t take(std::span<Element> into) {
    std::size_t n = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds{1}, [this] { return !queue_.empty(); });
      n = std::min(into.size(), queue_.size());
      const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(n);
      std::copy(queue_.begin(), end, into.begin());
      queue_.erase(queue_.begin(), end);
    }
    changed_.notify_one();
    return n;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Element> queue_;  // guarded by mutex_
};

template <typename Queue>
Cost queue_cost(const Case& what) {
  Queue queue;
  std::atomic<bool> no_more{false};
  const bench::Watch watch;
  std::vector<std::jthread> consumers;
  for (std::size_t i = 0; i < what.threads; ++i) {
    consumers.emplace_back([&] {
      std::array<Element, kBulk> elements;
      for (;;) {
        const bool last_look = no_more.load();
        if (queue.take(std::span(elements).first(what.bulk)) == 0 && last_look) return;
      }
    });
  }
  const std::array<Element, kBulk> elements{};
  const std::size_t pushed = bench::produce(what, [&] {
    for (std::size_t i = 0; i < kBulk; i += what.bulk) queue.put(std::span(elements).first(what.bulk));
  });
  no_more.store(true);
  consumers.clear();  // joins them
  return watch.each(pushed);
}

Cost cost(const std::string& who, const Case& what) {
  if (who == "sluice") return sluice_cost(what);
  if (who == "moodycamel") return queue_cost<Moodycamel>(what);
  if (who == "mutex") return queue_cost<MutexAndDeque>(what);
  throw std::invalid_argument("an unknown contestant");
}

}  // namespace

int main(int argc, char** argv) { return bench::run_case(argc, argv, cost); }
