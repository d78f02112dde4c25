// In-process: what an event costs from track() to its sink, beside moodycamel's queue alone, in one run. Producers
// push 64-byte payloads for a while, workers take them to a sink that does nothing; the peer's consumers take 64-byte
// elements out as they were put in, 64 at once or one by one, without tokens, since callers of track() have none. Both
// are bounded at 65536 outstanding: who finds no room, or nothing to take, yields.
//
//   bench_inprocess [ROUNDS [SECONDS]]
//
// Prints a line a case, medians in ns an event: `CASE: SLUICE PEER RATIO SLUICE_CPU PEER_CPU`.
#include <concurrentqueue/concurrentqueue.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "sluice/tracker.h"

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t kPayload = 64;
constexpr std::size_t kBulk = 64;
constexpr std::size_t kMostOutstanding = 65536;

struct Case {
  const char* name;
  std::size_t threads;  // producers, and as many workers
  std::size_t bulk;
};
constexpr std::array kCases = {Case{"D1 bulk of 64, 1 + 1", 1, kBulk}, Case{"D1 bulk of 64, 2 + 2", 2, kBulk},
                               Case{"D1 single, 1 + 1", 1, 1}, Case{"D1 single, 2 + 2", 2, 1}};

// Runs `producer` on so many threads at once until `end`; it returns how many events it has pushed. The sum of them.
std::size_t produce(std::size_t threads, const std::function<std::size_t(Clock::time_point end)>& producer,
                    Seconds time) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
  std::atomic<std::size_t> pushed{0};
  {
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < threads; ++i) all.emplace_back([&] { pushed += producer(end); });
  }
  return pushed;
}

// What an event costs: time, and CPU time of all threads together (which another process cannot lengthen).
struct Cost {
  double ns, cpu_ns;
};

class Watch {
 public:
  [[nodiscard]] Cost each(std::size_t events) const {
    const auto n = static_cast<double>(events);
    const std::chrono::duration<double, std::nano> elapsed = Clock::now() - begin_;
    return {elapsed.count() / n, 1e9 / CLOCKS_PER_SEC * static_cast<double>(std::clock() - cpu_) / n};
  }

 private:
  Clock::time_point begin_ = Clock::now();
  std::clock_t cpu_ = std::clock();
};

// ---- ours

class DevNull final : public sluice::Sink {
 public:
  void deliver(std::span<const sluice::Delivery> /*batch*/, std::span<sluice::Verdict> verdicts,
               std::stop_token /*stop*/) override {
    for (sluice::Verdict& verdict : verdicts) verdict = sluice::Verdict::delivered;
  }
};

// From the first track() to the last delivery.
Cost sluice_cost(const Case& what, Seconds time) {
  sluice::Options options;
  options.workers = what.threads;
  options.queue_events = kMostOutstanding;
  sluice::Tracker tracker(options, [] { return std::make_unique<DevNull>(); });
  const std::array<std::byte, kPayload> payload{};
  const std::vector<sluice::Event> events(what.bulk, {payload, "application/octet-stream"});

  const Watch watch;
  const std::size_t pushed = produce(
      what.threads,
      [&](Clock::time_point end) {
        std::size_t mine = 0;
        while (Clock::now() < end) {
          for (std::size_t i = 0; i < kBulk; i += what.bulk) {  // so single ones ask the clock no more often
            while (tracker.track(events) != sluice::Admit::accepted) std::this_thread::yield();
          }
          mine += kBulk;
        }
        return mine;
      },
      time);
  const sluice::Report report = tracker.shutdown(std::chrono::minutes{1});
  const Cost each = watch.each(pushed);
  if (report.books.delivered != pushed) std::fprintf(stderr, "not all delivered: %s\n", to_string(report).c_str());
  return each;
}

// ---- the peer

using Element = std::array<std::byte, kPayload>;

Cost peer_cost(const Case& what, Seconds time) {
  moodycamel::ConcurrentQueue<Element> queue;
  std::atomic<std::size_t> put{0};
  std::atomic<std::size_t> taken{0};
  std::atomic<bool> no_more{false};

  const Watch watch;
  std::vector<std::jthread> consumers;
  for (std::size_t i = 0; i < what.threads; ++i) {
    consumers.emplace_back([&] {
      std::array<Element, kBulk> elements;
      for (;;) {
        const bool last_look = no_more.load();
        const std::size_t n = what.bulk == 1 ? std::size_t{queue.try_dequeue(elements[0])}
                                             : queue.try_dequeue_bulk(elements.begin(), elements.size());
        if (n > 0) {
          taken += n;
        } else if (last_look) {
          return;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  const std::size_t pushed = produce(
      what.threads,
      [&](Clock::time_point end) {
        const std::array<Element, kBulk> elements{};
        std::size_t mine = 0;
        while (Clock::now() < end) {
          while (put.load() - taken.load() > kMostOutstanding - kBulk) std::this_thread::yield();
          put += kBulk;
          bool room = true;
          if (what.bulk == 1) {
            for (const Element& element : elements) room = queue.enqueue(element) && room;
          } else {
            room = queue.enqueue_bulk(elements.begin(), elements.size());
          }
          if (!room) std::abort();  // no memory
          mine += kBulk;
        }
        return mine;
      },
      time);
  no_more.store(true);
  consumers.clear();  // joins them
  return watch.each(pushed);
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::max(1UL, std::strtoul(argv[1], nullptr, 10)) : 5;
  const Seconds time(argc > 2 ? std::strtod(argv[2], nullptr) : 0.5);
  for (const Case& what : kCases) {
    std::array<std::vector<double>, 5> columns;
    for (std::size_t i = 0; i < rounds; ++i) {
      const Cost ours = sluice_cost(what, time);
      const Cost peer = peer_cost(what, time);
      // The ratio is of a round: its two halves had the same machine.
      const std::array row{ours.ns, peer.ns, ours.ns / peer.ns, ours.cpu_ns, peer.cpu_ns};
      for (std::size_t c = 0; c < row.size(); ++c) columns[c].push_back(row[c]);
    }
    std::printf("%s: %.1f %.1f %.2f %.1f %.1f\n", what.name, median(columns[0]), median(columns[1]), median(columns[2]),
                median(columns[3]), median(columns[4]));
    std::fflush(stdout);
  }
}
