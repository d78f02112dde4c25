// In-process: what an event costs in a pool that runs a task for each, as one would do without Sluice. The task holds
// the event's 64 bytes and does nothing with them. Built by tests/bench/run alone, which unpacks oneTBB for it.
//
//   bench_pools asio|tbb [threads=1] [bulk=64] [seconds=0.5]
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "bench/inprocess.h"

namespace {

using bench::Case;
using bench::Cost;
using bench::Element;

class Asio {
 public:
  explicit Asio(std::size_t threads) : pool_(threads) {}
  template <typename Task>
  void post(Task task) {
    boost::asio::post(pool_, std::move(task));
  }

 private:
  boost::asio::thread_pool pool_;
};

class Tbb {
 public:
  explicit Tbb(std::size_t threads) : arena_(static_cast<int>(threads), 0) {}
  template <typename Task>
  void post(Task task) {
    arena_.enqueue(std::move(task));
  }

 private:
  oneapi::tbb::task_arena arena_;
};

template <typename Pool>
Cost pool_cost(const Case& what) {
  std::atomic<std::size_t> put{0};
  std::atomic<std::size_t> taken{0};
  Pool pool(what.threads);
  const bench::Watch watch;
  const Element element{};
  const std::size_t pushed = bench::produce(what, [&] {
    while (put.load() - taken.load() > bench::kMostOutstanding - bench::kBulk) std::this_thread::yield();
    put += bench::kBulk;
    for (std::size_t i = 0; i < bench::kBulk; ++i) {
      pool.post([element, &taken] {
        if (element[0] == std::byte{}) ++taken;  // looks at the event, so that it is really carried
      });
    }
  });
  while (taken.load() < pushed) std::this_thread::yield();
  return watch.each(pushed);
}

Cost cost(const std::string& who, const Case& what) {
  if (who == "asio") return pool_cost<Asio>(what);
  if (who == "tbb") return pool_cost<Tbb>(what);
  throw std::invalid_argument("an unknown contestant");
}

}  // namespace

int main(int argc, char** argv) { return bench::run_case(argc, argv, cost); }
