// What the in-process contestants share: producers that push 64-byte events for a while, and the watch. Everybody is
// bounded at 65536 outstanding: who finds no room, or nothing to take, yields.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <functional>
#include <thread>
#include <vector>

#include "bench/arguments.h"

namespace bench {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPayload = 64;
constexpr std::size_t kBulk = 64;  // also how many a producer pushes before it looks at the clock again
constexpr std::size_t kMostOutstanding = 65536;

using Element = std::array<std::byte, kPayload>;

struct Case {
  std::size_t threads;  // producers, and as many workers
  std::size_t bulk;     // 1 or kBulk: how many are pushed and taken at once
  std::chrono::duration<double> time;
};

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

// Runs `push`, which pushes kBulk events, on all producers at once, again and again until the time is over. How many
// events that were.
inline std::size_t produce(const Case& what, const std::function<void()>& push) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(what.time);
  std::atomic<std::size_t> pushed{0};
  {
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < what.threads; ++i) {
      all.emplace_back([&] {
        std::size_t mine = 0;
        for (; Clock::now() < end; mine += kBulk) push();
        pushed += mine;
      });
    }
  }
  return pushed;
}

// A main: PROGRAM WHO [threads=1] [bulk=64] [seconds=0.5] prints as JSON what an event costs.
inline int run_case(int argc, char** argv, const std::function<Cost(const std::string& who, const Case&)>& cost) {
  return run_main(argc, argv, [&cost](Arguments& arguments) {
    const Case what{arguments.count("threads", 1), arguments.count("bulk", kBulk),
                    std::chrono::duration<double>(arguments.number("seconds", 0.5))};
    arguments.no_more();
    const Cost each = cost(arguments.word(0), what);
    std::printf("{\"ns\":%.2f,\"cpu_ns\":%.2f}\n", each.ns, each.cpu_ns);
  });
}

}  // namespace bench
