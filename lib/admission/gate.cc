// A mutex and a count.
#include "sluice/gate.h"

#include <cassert>

#include "admission/instant.h"

namespace sluice {

Gate::~Gate() { assert(inside_ == 0 && "Gate destroyed with a pass in use"); }

std::optional<Gate::Pass> Gate::try_enter() {
  const std::lock_guard lock(mutex_);
  if (closed_) return std::nullopt;
  ++inside_;
  return Pass(*this);
}

void Gate::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

bool Gate::wait_empty(Deadline deadline) {
  std::unique_lock lock(mutex_);
  return left_.wait_until(lock, deadline, [this] { return inside_ == 0; });
}

std::size_t Gate::inside() const {
  const std::lock_guard lock(mutex_);
  return inside_;
}

void Gate::Pass::leave() noexcept {
  Gate* const gate = std::exchange(gate_, nullptr);
  if (gate == nullptr) return;
  const std::lock_guard lock(gate->mutex_);
  assert(gate->inside_ > 0);
  // Notify under the lock: a waiter may destroy the gate as soon as it is empty.
  if (--gate->inside_ == 0) gate->left_.notify_all();
  SLUICE_INSTANT(last_has_left);
}

}  // namespace sluice
