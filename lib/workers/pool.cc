// The pool's threads: start, look, stop. What a worker does is in worker.cc.
#include "workers/pool.h"

#include <fmt/core.h>
#include <pthread.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace sluice {

using Clock = std::chrono::steady_clock;

Pool::Pool(Flow flow, const SinkFactory& sinks, const std::shared_ptr<const void>& keeps_alive)
    : state_(std::move(flow)) {
  for (std::size_t i = 0; i < state_.flow.options.workers; ++i) {
    threads_.push_back(std::make_unique<Thread>(state_, i));
  }
  std::size_t launched = 0;
  std::exception_ptr failure;
  try {
    for (const auto& thread : threads_) {
      thread->thread = std::jthread(
          [this, &thread = *thread, &sinks, keeps_alive](const std::stop_token& stop) { run(thread, sinks, stop); });
      ++launched;
    }
  } catch (...) {
    failure = std::current_exception();  // the system gives no more threads
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return started_ == launched; });  // no worker uses `sinks` after this
  if (!failure) failure = failed_to_start_;
  if (!failure) return;
  lock.unlock();
  state_.flow.queue.close();
  for (const auto& thread : threads_) {
    if (thread->thread.joinable()) thread->thread.join();
  }
  std::rethrow_exception(failure);
}

Pool::~Pool() {
  for ([[maybe_unused]] const auto& thread : threads_)
    assert(!thread->thread.joinable() && "Pool destroyed while working");
}

// The token is the thread's own copy, because its jthread may be detached.
void Pool::run(Thread& thread, const SinkFactory& sinks, const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), fmt::format("worker-{}", thread.worker.index()).c_str());
  std::exception_ptr failure;
  try {
    thread.worker.make_sink(sinks);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    ++started_;
    if (failure && !failed_to_start_) failed_to_start_ = failure;
    changed_.notify_all();
  }
  if (!failure) thread.worker.run(stop);
  const std::lock_guard lock(mutex_);
  thread.finished = true;
  changed_.notify_all();
}

void Pool::hurry(Clock::time_point deadline) {
  state_.stopping.store(true);
  const auto now = Clock::now();
  state_.lane.hurry(now, deadline, state_.flow.ledger.delivered());
  state_.health.hurry(now, deadline);
  state_.flow.queue.nudge();
}

std::vector<WorkerStatus> Pool::status() const {
  std::vector<WorkerStatus> all;
  for (const auto& thread : threads_) all.push_back(thread->worker.status());
  return all;
}

void Pool::show(Status& to) const {
  to.workers = status();
  to.retrying = state_.lane.events();
  SinkHealth::State sink = state_.health.state();
  to.sink_failing = sink.failing;
  to.sink_failing_since = sink.since;
  to.sink_cause = std::move(sink.reason);
}

void Pool::show(Metrics& to) const {
  to.retry_events = state_.lane.events();
  to.sink_failing = state_.health.troubled() && state_.health.failing();
  for (const auto& thread : threads_) thread->worker.show(to);
}

void Pool::expire(Clock::time_point until) {
  assert(state_.flow.queue.closed() && "a worker could take a batch meanwhile");
  for (const auto& thread : threads_) static_cast<void>(thread->worker.claim().keep(until));
  // After all claims: callbacks registered on the token run on this thread.
  for (const auto& thread : threads_) thread->thread.request_stop();
}

bool Pool::wait_gone(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, until, [this] {
    return std::ranges::all_of(threads_, [](const auto& thread) { return thread->finished; });
  });
}

std::vector<WorkerStatus> Pool::join(Clock::time_point until) {
  std::vector<WorkerStatus> left_behind;
  state_.log.dead_rest(Clock::time_point::max());
  std::unique_lock lock(mutex_);
  for (const auto& thread : threads_) {
    if (!thread->thread.joinable()) continue;
    if (changed_.wait_until(lock, until, [&] { return thread->finished; })) {
      lock.unlock();
      thread->thread.join();
      lock.lock();
    } else {
      left_behind.push_back(thread->worker.status());
      thread->thread.detach();
    }
  }
  return left_behind;
}

}  // namespace sluice
