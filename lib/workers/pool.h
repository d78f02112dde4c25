// The pool: a fixed set of workers, each a thread with a sink of its own, all in one loop: take a batch, hand it to the
// sink, book the outcome, give the tickets back. Made running; ended by expire() and join(). A worker that is stuck in
// its sink is the one thread that may be let go: it shares the ownership of all that it touches.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lifecycle/admission.h"
#include "lifecycle/shutdown.h"
#include "queue/event_queue.h"
#include "sluice/metrics.h"
#include "sluice/options.h"
#include "sluice/report.h"
#include "sluice/sink.h"
#include "workers/batch.h"
#include "workers/claim.h"
#include "workers/failure_log.h"
#include "workers/ledger.h"
#include "workers/tally.h"

namespace sluice {

// An event that is given up, on its way to where dead letters are kept.
struct DeadEvent {
  const Delivery* event;
  std::string_view reason;
};

// What the workers work on. Owned by whom `Pool` is told to keep alive.
struct Flow {
  Admission& door;
  EventQueue& queue;
  ShutdownCoordinator& stop;
  Ledger& ledger;
  const Options& options;
  std::function<void(LogLevel, std::string_view)> log;
  // These events of the block are finished; told before their tickets go back. Empty: nobody wants to know.
  std::function<void(Block&, std::uint64_t first_sequence, std::uint32_t count)> settle;
  // Keeps them aside, durably, all or none; an error means "try again". Called by several workers at a time.
  std::function<std::error_code(std::span<const DeadEvent>)> bury;
};

class Pool {
 public:
  // Running once constructed: each worker has its sink. What a factory throws is thrown here, after the other workers
  // have gone. `keeps_alive` owns the flow and this pool; each worker's thread holds it too.
  Pool(Flow flow, const SinkFactory& sinks, const std::shared_ptr<const void>& keeps_alive);
  ~Pool();  // all workers were joined or let go before
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] std::vector<WorkerStatus> status() const;
  // The workers' part of it, added to what is there. Takes no lock.
  void show(Metrics& to) const;

  // Past the deadline, the queue being closed: takes the batches that are in sinks away from their workers and asks the
  // workers to stop. From here the ledger is final.
  void expire();

  // The queue being closed: waits for the workers until `until`, joins them, and lets go who is still in his sink.
  // Those, as they were.
  std::vector<WorkerStatus> join(std::chrono::steady_clock::time_point until);

 private:
  struct Worker;

  void run(Worker& worker, const SinkFactory& sinks);
  [[nodiscard]] bool take(Worker& worker, Batch& batch);
  void fill(Worker& worker, Batch& batch);
  [[nodiscard]] bool finish(Worker& worker, Sink& sink, Batch& batch);
  void deliver(Worker& worker, Sink& sink, Batch& batch);
  void bury_refused(Worker& worker, Batch& batch);
  [[nodiscard]] WorkerStatus status_of(const Worker& worker) const;

  const Flow flow_;
  std::vector<std::unique_ptr<Worker>> workers_;  // constant after construction

  // Two, or a sink that fails all the time would keep it to itself that dead letters cannot be kept.
  FailureLog sink_failures_, burial_failures_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t started_ = 0;             // guarded by mutex_; have their sink, or failed to
  std::exception_ptr failed_to_start_;  // guarded by mutex_; the first
};

}  // namespace sluice
