// The pool: a fixed set of worker threads, each with a sink of its own. Events that the sink does not take go to the
// retry lane, and the worker takes the next batch; while the sink takes nothing at all, one worker at a time probes it
// and the others wait. A worker holds only what it delivers now.
//
// Running once constructed; ended by expire() and join(). A worker that is stuck in its sink is detached, and is the
// one thread that may outlive the pool's owner: it shares the ownership of everything it touches. Without memory a
// worker waits for it and loses nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "sluice/metrics.h"
#include "sluice/report.h"
#include "sluice/sink.h"
#include "workers/flow.h"
#include "workers/pool_state.h"
#include "workers/worker.h"

namespace sluice {

class Pool {
 public:
  // Starts the workers and waits until each has its sink. If a factory throws, the other workers end first, and then
  // this throws the same. `keeps_alive` owns the flow and this pool; each worker's thread holds it too.
  Pool(Flow flow, const SinkFactory& sinks, const std::shared_ptr<const void>& keeps_alive);
  ~Pool();  // after join()
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] std::vector<WorkerStatus> status() const;
  // Adds the workers' part to what is there. The second takes no lock while the sink works.
  void show(Status& to) const;
  void show(Metrics& to) const;

  // A stop has begun, or its deadline moved forward: no retry waits longer than a tenth of the time left. Events that
  // failed before while the sink worked get one more attempt at once; if that fails too, they are put aside and their
  // tickets go back.
  void hurry(std::chrono::steady_clock::time_point deadline);
  // The number of events put aside so.
  [[nodiscard]] std::uint64_t kept() const noexcept { return state_.kept.load(); }
  // A sink said that it never delivers again; from here Admission::wait_empty() does not wait.
  [[nodiscard]] bool gone() const noexcept { return state_.gone.load(); }

  // The end of the pool, once the queue is closed.
  // Past the deadline: takes the batches that are in sinks away from their workers and requests the workers' stop.
  // Waits until `until` for dead letters that are being written. From here the ledger is final.
  void expire(std::chrono::steady_clock::time_point until);
  // True if all workers have ended by `until`.
  [[nodiscard]] bool wait_gone(std::chrono::steady_clock::time_point until);
  // Waits for the workers until `until`, joins them, and detaches the ones that are still in their sink. Returns the
  // status of those.
  std::vector<WorkerStatus> join(std::chrono::steady_clock::time_point until);

 private:
  struct Thread {
    Thread(PoolState& pool, std::size_t index) : worker(pool, index) {}

    Worker worker;
    bool finished = false;  // guarded by mutex_; the thread's last act
    std::jthread thread;    // ends before the rest is destroyed, or is detached
  };

  void run(Thread& thread, const SinkFactory& sinks, const std::stop_token& stop);

  PoolState state_;
  std::vector<std::unique_ptr<Thread>> threads_;  // constant after construction

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t started_ = 0;             // guarded by mutex_; threads that have a sink, or failed to make one
  std::exception_ptr failed_to_start_;  // guarded by mutex_; the first failure
};

}  // namespace sluice
