// The way for little concurrency: count the tasks in hand, close, and wait for them with a deadline (a wait group that
// can be closed). Holding a Pass IS being inside. Any thread; a few dozen ns a pass. It refuses, it never queues.
#pragma once

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

#include "sluice/api.h"
#include "sluice/deadline.h"

namespace sluice {

class SLUICE_API Gate {
 public:
  // Permission to be inside; leaving is its destructor. Must not outlive its gate.
  class Pass {
   public:
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      if (this != &other) {
        leave();
        gate_ = std::exchange(other.gate_, nullptr);
      }
      return *this;
    }
    ~Pass() { leave(); }

   private:
    friend class Gate;
    explicit Pass(Gate& gate) noexcept : gate_(&gate) {}
    void leave() noexcept;

    Gate* gate_;
  };

  Gate() = default;
  ~Gate();  // nobody is inside any more; that there is, is an error of the program, and asserted

  // Asks and enters in one step. Nothing once closed.
  [[nodiscard]] std::optional<Pass> try_enter();

  // From here nobody enters. Idempotent.
  void close();

  // Waits until nobody is inside or the deadline (Deadline::max(): for ever); true if nobody is. A closed gate that is
  // empty stays empty.
  [[nodiscard]] bool wait_empty(Deadline deadline);
  template <std::integral Rep, class Period>
  [[nodiscard]] bool wait_empty(std::chrono::duration<Rep, Period> at_most) {
    return wait_empty(deadline_in(at_most));
  }

  // How many, at an instant of the past.
  [[nodiscard]] std::size_t inside() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::size_t inside_ = 0;  // guarded by mutex_
  bool closed_ = false;     // guarded by mutex_; never returns to false
};

}  // namespace sluice
