// A pool of threads that runs tasks: bounded, closable, and stopped like a Tracker, with a report that balances.
//
//   sluice::TaskPool pool({.workers = 2, .queue_tasks = 65536});
//   if (pool.try_run([job = std::move(job)] { job->run(); }) != sluice::Admit::accepted) ...
//   sluice::Report report = pool.shutdown(5s);   // drained, or which worker held it up
//
// Threads: any thread may call any function at any time; the destructor must run after all other calls. A task must not
// call shutdown(), and in wait_run() it may wait for itself. Tasks begin in the order in which they were taken.
//
// Inside: the Tracker's admission and shutdown coordinator, but not its queue, whose blocks of bytes a journal shares.
// A task is an object of any type, so it waits in a linked list, one allocation each.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "sluice/api.h"
#include "sluice/deadline.h"
#include "sluice/event.h"
#include "sluice/options.h"
#include "sluice/report.h"

namespace sluice {

struct TaskPoolOptions {
  std::size_t workers = 0;          // 1 to 1024; 0: as many as this process may use CPUs
  std::size_t queue_tasks = 65536;  // 1 to 2^30: accepted and not finished, running ones included
  LogHook log{};                    // default: warnings and errors go to stderr
};

// Callable once, without arguments or with a stop token, which is requested at the deadline of a shutdown. Move-only
// callables are fine. A result is dropped: for a future, pass a std::packaged_task. A task must own or share what it
// refers to: one that is stuck past the deadline is left behind, and may outlive the pool.
template <typename F>
concept Task = std::constructible_from<std::decay_t<F>, F> &&
               (std::invocable<std::decay_t<F>> || std::invocable<std::decay_t<F>, std::stop_token>);

class SLUICE_API TaskPool {
 public:
  // Running once constructed. Throws StartError (usage: an option), std::system_error if there are no threads.
  explicit TaskPool(TaskPoolOptions options = {});
  ~TaskPool();  // shutdown(now): takes about 100 ms at most; logs what it left undone
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // Takes the task, or says why not: `full` or `closed`. Never waits for space. A task that was not taken is not run,
  // and on `full` it is not moved from either. A task that throws counts as dead, and the log says so.
  template <Task F>
  [[nodiscard]] Admit try_run(F&& task) {
    const Admit answer = try_enter();
    return answer == Admit::accepted ? run_admitted(std::forward<F>(task)) : answer;
  }

  // The same, but waits for space until the deadline. False: it was not taken.
  template <Task F>
  [[nodiscard]] bool wait_run(F&& task, Deadline deadline) {
    return wait_enter(deadline) == Admit::accepted && run_admitted(std::forward<F>(task)) == Admit::accepted;
  }

  // Closes admission, waits until every accepted task has finished or the deadline has passed, and reports: accepted =
  // delivered (finished) + dead (threw) + lost (not finished). Idempotent, from any thread: the earliest deadline
  // counts, and all callers get the same report. Returns at most 100 ms after the deadline; a deadline in less than 100
  // ms is moved there. At the deadline tasks that have not begun are destroyed, on this thread; workers that are still
  // in a task are left behind and named in held_up_by.
  Report shutdown(Deadline deadline);
  template <std::integral Rep, class Period>
  Report shutdown(std::chrono::duration<Rep, Period> at_most) {
    return shutdown(deadline_in(at_most));
  }

  // The counts of this instant, balanced; `kept`: waiting or running.
  [[nodiscard]] Books books() const;

 private:
  struct Item {
    virtual ~Item() = default;
    virtual void run(const std::stop_token& stop) = 0;
    Item* next = nullptr;
  };
  template <typename F>
  struct ItemOf final : Item {
    template <typename G>
    explicit ItemOf(G&& from) : task(std::forward<G>(from)) {}  // NOLINT(bugprone-forwarding-reference-overload)
    void run(const std::stop_token& stop) override {
      if constexpr (std::invocable<F, std::stop_token>) {
        static_cast<void>(std::invoke(std::move(task), stop));
      } else {
        static_cast<void>(std::invoke(std::move(task)));
      }
    }
    F task;
  };

  template <typename F>
  [[nodiscard]] Admit run_admitted(F&& task) {
    std::unique_ptr<Item> item;
    try {
      item = std::make_unique<ItemOf<std::decay_t<F>>>(std::forward<F>(task));
    } catch (...) {
      leave();
      throw;
    }
    return push(std::move(item));
  }
  [[nodiscard]] Admit try_enter() noexcept;
  [[nodiscard]] Admit wait_enter(Deadline deadline);
  [[nodiscard]] Admit push(std::unique_ptr<Item> item) noexcept;
  void leave() noexcept;

  struct Engine;
  std::shared_ptr<Engine> engine_;  // owners: the pool, and each worker's thread as long as it runs
};

}  // namespace sluice
