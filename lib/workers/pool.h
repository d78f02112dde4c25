// The pool: a fixed set of workers, each a thread with a sink of its own, all in one loop: take a batch, hand it to the
// sink, book the outcome, give the tickets back. What the sink does not take goes to the retry lane, and the worker
// takes the next batch; while the sink takes nothing at all, one worker at a time probes it and the others wait. A
// worker holds what it delivers now and nothing else.
//
// Made running; ended by expire() and join(). A worker that is stuck in its sink is the one thread that may be let go:
// it shares the ownership of all that it touches. Where memory is out, a worker waits for it and loses nothing.
#pragma once

#include <fmt/core.h>

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

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "queue/event_queue.h"
#include "sluice/log_limit.h"
#include "sluice/metrics.h"
#include "sluice/options.h"
#include "sluice/report.h"
#include "sluice/sink.h"
#include "workers/batch.h"
#include "workers/claim.h"
#include "workers/ledger.h"
#include "workers/retry_lane.h"
#include "workers/sink_health.h"
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
  // These events of the block are finished by this worker; told before their tickets go back. True: its sink should be
  // synced soon, since too much waits for that. Empty: nobody wants to know.
  std::function<bool(std::size_t worker, Block&, std::uint64_t first_sequence, std::uint32_t count)> settle;
  // Under Ack::written: this worker's sink was synced behind all that it has finished, or could not be. So many events
  // that concerns. Empty: sinks need no sync().
  std::function<std::uint64_t(std::size_t worker, bool durable)> sink_synced{};
  std::chrono::milliseconds sync_every{1000};  // sinks that were given something: at least,
  std::chrono::milliseconds sync_soonest{50};  // and where it takes a worker next to no time, at most
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
  // The workers' part of it, added to what is there. The latter takes no lock while the sink works.
  void show(Status& to) const;
  void show(Metrics& to) const;

  // A stop has begun, or its deadline came nearer: nothing waits for its next attempt longer than a tenth of the time
  // left. What has failed before while the sink works gets one more attempt at once; fails that too, it is put aside,
  // and its tickets go back.
  void hurry(std::chrono::steady_clock::time_point deadline);
  // Events that were put aside so.
  [[nodiscard]] std::uint64_t kept() const noexcept { return kept_.load(); }
  // A sink has said that it never delivers anything again; from here Admission::wait_empty() does not wait.
  [[nodiscard]] bool gone() const noexcept { return gone_.load(); }

  // Past the deadline, the queue being closed: takes the batches that are in sinks away from their workers and asks the
  // workers to stop. Dead letters that are being written are waited for until `until`. From here the ledger is final.
  void expire(std::chrono::steady_clock::time_point until);

  // The queue being closed: whether all workers have gone, by `until` at the latest.
  [[nodiscard]] bool wait_gone(std::chrono::steady_clock::time_point until);
  // The queue being closed: waits for the workers until `until`, joins them, and lets go who is still in his sink.
  // Those, as they were.
  std::vector<WorkerStatus> join(std::chrono::steady_clock::time_point until);

 private:
  struct Worker;

  // What a worker that has found nothing waits for.
  struct Wait {
    std::chrono::steady_clock::time_point until{};
    bool on_events = false;
  };
  // What a call of the sink has shown.
  struct Call {
    bool in_stop = false;           // it began in a stop
    bool works = true;              // some verdict was another than try_again
    bool unburied = false;          // dead letters could not be kept
    std::uint32_t passed_over = 0;  // its events, by now
    std::string reason;             // the first there is
  };

  void run(Worker& worker, const SinkFactory& sinks);
  [[nodiscard]] bool take(Worker& worker, Sink& sink, Batch& batch);
  [[nodiscard]] Wait look(Worker& worker, Batch& batch);
  [[nodiscard]] bool take_due(Worker& worker, Batch& batch);
  [[nodiscard]] Wait probe(Worker& worker, Batch& batch);
  void fill(Worker& worker, Batch& batch);
  [[nodiscard]] bool finish(Worker& worker, Sink& sink, Batch& batch);
  void settle(Worker& worker, const Batch& batch);
  enum class When : std::uint8_t { due, at_once };
  [[nodiscard]] std::chrono::steady_clock::time_point sync_due(const Worker& worker) const;
  [[nodiscard]] bool sync_if(Worker& worker, Sink& sink, When when);
  [[nodiscard]] bool deliver(Worker& worker, Sink& sink, Batch& batch, Call& call);
  void judge(Worker& worker, Batch& batch, std::size_t delivered, Call& call);
  [[nodiscard]] bool bury_refused(Worker& worker, Batch& batch, Call& call);
  void hand_over(Worker& worker, Batch& batch, const Call& call);
  void tell_dead(const Worker& worker, std::span<const DeadEvent> dead);
  void tell_dead_rest(std::chrono::steady_clock::time_point now);
  void keep(Worker& worker, std::vector<Slice>& runs, std::string_view reason);
  template <typename Step>
  [[nodiscard]] bool with_memory(Step step);
  template <typename... Args>
  void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) noexcept;
  [[nodiscard]] WorkerStatus status_of(const Worker& worker) const;

  const Flow flow_;
  SinkHealth health_;
  RetryLane lane_;
  std::atomic<bool> stopping_{false};  // never returns to false, as gone_
  std::atomic<bool> gone_{false};
  std::atomic<std::uint64_t> kept_{0};
  std::vector<std::unique_ptr<Worker>> workers_;  // constant after construction

  // One a kind, or a sink that fails all the time would keep it to itself that dead letters cannot be kept. All workers
  // share them, as they share their sink: one full disk is one piece of news, however many find it full.
  LogLimit sink_failures_{std::chrono::seconds{10}};
  LogLimit burial_failures_{std::chrono::seconds{10}};
  LogLimit sync_failures_{std::chrono::seconds{10}};
  LogLimit dead_events_{std::chrono::seconds{1}};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t started_ = 0;             // guarded by mutex_; have their sink, or failed to
  std::exception_ptr failed_to_start_;  // guarded by mutex_; the first
};

}  // namespace sluice
