// Who owns a batch's outcome. A worker goes idle -> taking -> in_sink -> answered -> idle; the coordinator, past the
// deadline, takes a batch from in_sink to kept. Each of the two that may meet is one compare-exchange: who loses it
// touches neither books nor journal. `taking` and `answered` do no I/O, so the coordinator waits them out.
#pragma once

#include <atomic>
#include <thread>

#include "sluice/report.h"

namespace sluice {

class Claim {
 public:
  // The worker's side.
  void take() noexcept { state_.store(WorkerState::taking); }  // before it looks into the queue, so nothing is missed
  void enter_sink() noexcept { state_.store(WorkerState::in_sink); }
  // True: the outcome is the worker's to book. False: the batch was kept, and is none of its business any more.
  [[nodiscard]] bool answer() noexcept {
    WorkerState expected = WorkerState::in_sink;
    return state_.compare_exchange_strong(expected, WorkerState::answered);
  }
  void rest() noexcept { state_.store(WorkerState::idle); }

  // The coordinator's side, once the queue is closed: settles the matter. True if the batch was in the sink and is
  // the coordinator's now.
  [[nodiscard]] bool keep() noexcept {
    for (;;) {
      WorkerState now = state_.load();
      switch (now) {
        case WorkerState::idle:
          return false;
        case WorkerState::kept:
          return true;
        case WorkerState::in_sink:
          if (state_.compare_exchange_strong(now, WorkerState::kept)) return true;
          break;
        case WorkerState::taking:
        case WorkerState::answered:
          std::this_thread::yield();
          break;
      }
    }
  }

  [[nodiscard]] WorkerState state() const noexcept { return state_.load(); }

 private:
  std::atomic<WorkerState> state_{WorkerState::idle};
};

}  // namespace sluice
