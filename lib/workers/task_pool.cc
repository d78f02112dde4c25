// The task pool's engine: admission in front, a linked list of waiting tasks, the workers' loop, and the stop as one
// list. One mutex guards the list, the counts and what each worker is doing; it is never held while a task runs, is
// destroyed, or is logged about. Lock order: mutex_, then admission's.
#include "sluice/task_pool.h"

#include <fmt/core.h>
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "sluice/error.h"
#include "sluice/host.h"
#include "sluice/log_limit.h"
#include "workers/guarded_log.h"

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

// What shutdown(now) still gets, as with a Tracker: short tasks in hand may finish.
constexpr std::chrono::milliseconds kLeastDrain{100};
// Past the deadline a task that heeds its stop token may return within this, and its worker is joined.
constexpr std::chrono::milliseconds kGrace{10};

TaskPoolOptions checked(TaskPoolOptions options) {
  if (options.workers == 0) options.workers = std::min<std::size_t>(usable_cpus(), 1024);
  if (options.workers > 1024) throw StartError(StartError::Kind::usage, "workers: 0 to 1024");
  if (options.queue_tasks < 1 || options.queue_tasks > std::size_t{1} << 30U) {
    throw StartError(StartError::Kind::usage, "queue_tasks: 1 to 2^30");
  }
  return options;
}

}  // namespace

struct SLUICE_INTERNAL TaskPool::Engine {
  explicit Engine(const TaskPoolOptions& options) : door_(options.queue_tasks, 0), log_(options.log) {
    for (std::size_t i = 0; i < options.workers; ++i) workers_.push_back(std::make_unique<Worker>(i));
  }

  void start(const std::shared_ptr<Engine>& self);
  [[nodiscard]] Admit entered(std::variant<Ticket, Admit> answer) noexcept;
  [[nodiscard]] Admit push(std::unique_ptr<Item> item) noexcept;
  [[nodiscard]] Report shutdown(Deadline deadline);
  void retire();
  [[nodiscard]] Books books() const;

  struct Worker {
    explicit Worker(std::size_t n) : index(n) {}
    const std::size_t index;
    bool busy = false;          // guarded by mutex_, as the next three
    bool finished = false;      // its last act
    Clock::time_point since{};  // when it became busy
    std::uint64_t delivered = 0;
    std::jthread thread;  // ends before the rest is destroyed, or is left behind
  };

  void run(Worker& worker, const std::stop_token& stop);
  [[nodiscard]] std::unique_ptr<Item> next(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool execute(const Worker& worker, Item& item, const std::stop_token& stop);
  void log_failure(const Worker& worker, std::string_view reason);
  void log_rest(Clock::time_point now);
  void end_workers();
  [[nodiscard]] Report drain();
  [[nodiscard]] std::uint64_t expire();
  [[nodiscard]] std::vector<WorkerStatus> join(Deadline until);
  [[nodiscard]] WorkerStatus status_of(const Worker& worker) const;
  void name_busy_workers();

  Admission door_;
  ShutdownCoordinator stop_;
  GuardedLog log_;
  LogLimit failures_{std::chrono::seconds{1}};
  std::vector<std::unique_ptr<Worker>> workers_;  // constant after construction

  mutable std::mutex mutex_;
  std::condition_variable came_;  // a task, or closed_
  std::condition_variable gone_;  // a worker
  Item* first_ = nullptr;         // guarded by mutex_; owned: the tasks that wait, linked
  Item* last_ = nullptr;          // guarded by mutex_; valid if first_ is
  Books books_;                   // guarded by mutex_, without `kept`
  bool closed_ = false;           // guarded by mutex_; no task begins any more. Never returns to false
  bool reported_ = false;         // guarded by mutex_
};

// ---- the public interface

TaskPool::TaskPool(TaskPoolOptions options) : engine_(std::make_shared<Engine>(checked(std::move(options)))) {
  engine_->start(engine_);
}

TaskPool::~TaskPool() { engine_->retire(); }

Admit TaskPool::try_enter() noexcept { return engine_->entered(engine_->door_.try_admit(1, 0)); }

Admit TaskPool::wait_enter(Deadline deadline) { return engine_->entered(engine_->door_.wait_admit(1, 0, deadline)); }

Admit TaskPool::push(std::unique_ptr<Item> item) noexcept { return engine_->push(std::move(item)); }

void TaskPool::leave() noexcept { engine_->door_.give_back_events(1); }

Report TaskPool::shutdown(Deadline deadline) {
  // Held until the end: a worker that is left behind may be the only other owner.
  const std::shared_ptr<Engine> engine = engine_;
  return engine->shutdown(deadline);
}

Books TaskPool::books() const { return engine_->books(); }

// ---- tasks come

// The ticket's one task returns when the task has finished, not when this returns.
Admit TaskPool::Engine::entered(std::variant<Ticket, Admit> answer) noexcept {
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) return *refusal;
  std::get<Ticket>(answer).hand_over_events();
  return Admit::accepted;
}

Admit TaskPool::Engine::push(std::unique_ptr<Item> item) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      Item* const raw = item.release();
      if (first_ == nullptr) {
        first_ = raw;
      } else {
        last_->next = raw;
      }
      last_ = raw;
      ++books_.accepted;
    }
  }
  if (item) {  // the deadline came between admission and here
    item.reset();
    door_.give_back_events(1);
    return Admit::closed;
  }
  came_.notify_one();
  return Admit::accepted;
}

Books TaskPool::Engine::books() const {
  const std::lock_guard lock(mutex_);
  Books books = books_;
  books.kept = books.accepted - books.delivered - books.dead - books.lost;
  return books;
}

// ---- the workers

void TaskPool::Engine::start(const std::shared_ptr<Engine>& self) {
  try {
    for (const auto& worker : workers_) {
      worker->thread =
          std::jthread([self, &worker = *worker](const std::stop_token& stop) { self->run(worker, stop); });
    }
  } catch (...) {  // the system has no more threads
    end_workers();
    for (const auto& worker : workers_) {
      if (worker->thread.joinable()) worker->thread.join();
    }
    throw;
  }
}

void TaskPool::Engine::run(Worker& worker, const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), fmt::format("task-{}", worker.index).c_str());
  std::unique_lock lock(mutex_);
  while (std::unique_ptr<Item> item = next(lock)) {
    worker.busy = true;
    worker.since = Clock::now();
    lock.unlock();
    const bool done = execute(worker, *item, stop);
    item.reset();  // what the task owns is gone before it counts as finished
    lock.lock();
    if (closed_) break;  // past the deadline: it was counted as lost
    worker.busy = false;
    worker.delivered += done ? 1 : 0;
    ++(done ? books_.delivered : books_.dead);
    door_.give_back_events(1);  // last: with the last one a shutdown goes on
  }
  worker.finished = true;
  gone_.notify_all();
}

// The next task, once there is one. Nothing: the pool is closed.
std::unique_ptr<TaskPool::Item> TaskPool::Engine::next(std::unique_lock<std::mutex>& lock) {
  while (first_ == nullptr && !closed_) {
    const auto due = failures_.rest_due();
    if (due == Clock::time_point::max()) {
      came_.wait(lock);
    } else if (came_.wait_until(lock, due) == std::cv_status::timeout) {
      lock.unlock();
      log_rest(Clock::now());
      lock.lock();
    }
  }
  if (closed_) return nullptr;
  std::unique_ptr<Item> item(first_);
  first_ = item->next;
  return item;
}

// False: it threw.
bool TaskPool::Engine::execute(const Worker& worker, Item& item, const std::stop_token& stop) {
  try {
    try {
      item.run(stop);
      return true;
    } catch (const std::exception& error) {
      log_failure(worker, error.what());
    } catch (...) {
      log_failure(worker, "an exception that is no std::exception");
    }
  } catch (const std::bad_alloc&) {
    return false;  // no memory for the line; the count holds
  }
  return false;
}

void TaskPool::Engine::log_failure(const Worker& worker, std::string_view reason) {
  const std::uint64_t tasks = failures_.tell();
  if (tasks == 0) return;
  log_(LogLevel::warn, fmt::format("task threw worker={} tasks={} reason=\"{}\"", worker.index, tasks, reason));
}

// Tasks that threw within a second after a line.
void TaskPool::Engine::log_rest(Clock::time_point now) {
  if (const std::uint64_t tasks = failures_.tell_rest(now); tasks > 0) {
    log_(LogLevel::warn, fmt::format("more tasks threw tasks={}", tasks));
  }
}

// ---- the stop

Report TaskPool::Engine::shutdown(Deadline deadline) {
  const Deadline least = deadline_in(kLeastDrain);
  const bool first = stop_.begin(std::max(deadline, least), least);
  door_.hasten(stop_.deadline());
  if (!first) return stop_.wait_report();
  Report report = drain();
  stop_.finish(report);
  return report;
}

void TaskPool::Engine::retire() {
  const bool was_reported = [this] {
    const std::lock_guard lock(mutex_);
    return reported_;
  }();
  const Report report = shutdown(Clock::now());
  if (!was_reported && !report.drained()) log_(LogLevel::warn, to_string(report));
  log_.close();
}

Report TaskPool::Engine::drain() {
  // 1 Close admission: from here no task is taken.
  door_.close();

  // 2 Wait until every task has finished, or the deadline; shortly before it, log which workers hold it up.
  const Deadline begin = Clock::now();
  const Deadline end = stop_.deadline();
  if (!door_.wait_empty(end - (end - begin) / 10)) {
    name_busy_workers();
    static_cast<void>(door_.wait_empty(stop_.deadline()));
  }

  // 3 Close the queue: the workers go. Tasks that have not finished are lost; those that have not begun are destroyed.
  Report report;
  const std::uint64_t lost = expire();

  // 4 Ask tasks that still run to stop, and join the workers that come back.
  const bool drained = lost == 0;
  if (!drained) {
    for (const auto& worker : workers_) worker->thread.request_stop();  // callbacks on the token run here
  }
  report.held_up_by = join(drained ? std::max(stop_.deadline(), deadline_in(kGrace)) : deadline_in(kGrace));

  // 5 Report.
  log_rest(Clock::time_point::max());
  if (!drained) log_(LogLevel::error, fmt::format("tasks are lost, the deadline came first tasks={}", lost));
  report.books = books();
  report.reason = drained && report.held_up_by.empty() ? Reason::drained : Reason::deadline;
  report.elapsed = stop_.elapsed();
  const std::lock_guard lock(mutex_);
  reported_ = true;
  return report;
}

void TaskPool::Engine::end_workers() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  came_.notify_all();
}

// How many tasks are lost.
std::uint64_t TaskPool::Engine::expire() {
  Item* waiting = nullptr;
  std::uint64_t lost = 0;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    waiting = std::exchange(first_, nullptr);
    for (const auto& worker : workers_) lost += worker->busy ? 1 : 0;
    for (const Item* item = waiting; item != nullptr; item = item->next) ++lost;
    books_.lost = lost;
    came_.notify_all();
  }
  while (waiting != nullptr) delete std::exchange(waiting, waiting->next);
  return lost;
}

std::vector<WorkerStatus> TaskPool::Engine::join(Deadline until) {
  std::vector<WorkerStatus> left_behind;
  std::unique_lock lock(mutex_);
  for (const auto& worker : workers_) {
    if (gone_.wait_until(lock, until, [&] { return worker->finished; })) {
      lock.unlock();
      worker->thread.join();
      lock.lock();
    } else {
      left_behind.push_back(status_of(*worker));
      worker->thread.detach();
    }
  }
  return left_behind;
}

WorkerStatus TaskPool::Engine::status_of(const Worker& worker) const {
  return {.worker = worker.index,
          .sink = "task",
          .state = worker.busy ? WorkerState::in_sink : WorkerState::idle,
          .events = worker.busy ? 1U : 0U,
          .attempt = worker.busy ? 1U : 0U,
          .in_state = worker.busy ? Clock::now() - worker.since : Clock::duration{0},
          .delivered = worker.delivered};
}

void TaskPool::Engine::name_busy_workers() {
  std::vector<WorkerStatus> busy;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& worker : workers_) {
      if (worker->busy) busy.push_back(status_of(*worker));
    }
  }
  for (const WorkerStatus& worker : busy) {
    log_(LogLevel::warn, fmt::format("the stop is held up worker={} sink={} for={:.3f}s", worker.worker, worker.sink,
                                     std::chrono::duration<double>(worker.in_state).count()));
  }
}

}  // namespace sluice
