// Decides who owns the outcome of a worker's batch: its worker, or past the deadline the thread that stops the pool.
// The worker's states are idle -> taking -> in_sink -> answered -> idle, with `burying` before `answered` while dead
// letters are written. Past the deadline the stopping thread moves `taking` and `in_sink` to `kept`. Each transition
// that both may try is one compare-exchange; the loser touches neither sink, books nor journal. The stopping thread
// waits for `answered`, in which the worker does no I/O, and as long as it can for `burying`.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "sluice/report.h"

namespace sluice {

class Claim {
 public:
  // The worker's side.
  // Called before it takes events, so that the stopping thread misses none.
  void take() noexcept { state_.store(WorkerState::taking); }
  // True: the batch still belongs to the worker. False: it was kept, and the worker must not touch its outcome.
  [[nodiscard]] bool enter_sink() noexcept { return go(WorkerState::taking, WorkerState::in_sink); }
  [[nodiscard]] bool bury() noexcept { return go(WorkerState::in_sink, WorkerState::burying); }
  [[nodiscard]] bool answer() noexcept {
    return go(WorkerState::in_sink, WorkerState::answered) || go(WorkerState::burying, WorkerState::answered);
  }
  void rest() noexcept { state_.store(WorkerState::idle); }

  // The stopping thread's side, once the queue is closed. Afterwards a worker that is not idle books nothing. True if
  // the worker had a batch, which belongs to the stopping thread now. If dead letters are not written by `until`, their
  // events are kept, although the letters may be in the file.
  [[nodiscard]] bool keep(std::chrono::steady_clock::time_point until) noexcept {
    for (;;) {
      const WorkerState now = state_.load();
      switch (now) {
        case WorkerState::idle:
          return false;
        case WorkerState::kept:
          return true;
        case WorkerState::taking:
        case WorkerState::in_sink:
          if (go(now, WorkerState::kept)) return true;
          break;
        case WorkerState::burying:
          if (std::chrono::steady_clock::now() >= until && go(now, WorkerState::kept)) return true;
          std::this_thread::sleep_for(std::chrono::microseconds{100});
          break;
        case WorkerState::answered:
          std::this_thread::yield();
          break;
      }
    }
  }

  [[nodiscard]] WorkerState state() const noexcept { return state_.load(); }

 private:
  bool go(WorkerState from, WorkerState to) noexcept { return state_.compare_exchange_strong(from, to); }

  std::atomic<WorkerState> state_{WorkerState::idle};
};

}  // namespace sluice
