// Who owns a batch's outcome. A worker goes idle -> taking -> in_sink -> answered -> idle, or by way of `burying` where
// dead letters are to be written; the coordinator, past the deadline, takes what is in its hands or in its sink: kept.
// Each step at which the two may meet is one compare-exchange: who loses it touches neither sink, books nor journal.
// `answered` does no I/O, so the coordinator waits it out; `burying` it waits for as long as it can.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "sluice/report.h"

namespace sluice {

class Claim {
 public:
  // The worker's side.
  void take() noexcept { state_.store(WorkerState::taking); }  // before it looks for events, so nothing is missed
  // Each of these: true, and the batch is still the worker's; or false, it was kept, and is none of its business any
  // more.
  [[nodiscard]] bool enter_sink() noexcept { return go(WorkerState::taking, WorkerState::in_sink); }
  [[nodiscard]] bool bury() noexcept { return go(WorkerState::in_sink, WorkerState::burying); }
  [[nodiscard]] bool answer() noexcept {
    return go(WorkerState::in_sink, WorkerState::answered) || go(WorkerState::burying, WorkerState::answered);
  }
  void rest() noexcept { state_.store(WorkerState::idle); }

  // The coordinator's side, once the queue is closed: settles the matter; from here a worker that is not idle books
  // nothing. True if it had a batch, which is the coordinator's now. Of dead letters that are not written by `until`
  // the events are kept, although the letters may be there.
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
