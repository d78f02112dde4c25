// The log hook of a tracker or a task pool, closed when its owner is destroyed: a worker that was left behind logs
// nothing from then on. Any thread.
#pragma once

#include <chrono>
#include <string_view>
#include <utility>

#include "sluice/gate.h"
#include "sluice/options.h"

namespace sluice {

class GuardedLog {
 public:
  // An empty hook: warnings and errors go to stderr.
  explicit GuardedLog(LogHook hook);

  void operator()(LogLevel level, std::string_view line) {
    if (const auto pass = gate_.try_enter()) hook_(level, line);
  }

  // From here the hook is not called. Waits for calls that are under way, but not longer than a second: a hook must not
  // block for longer.
  void close() {
    gate_.close();
    static_cast<void>(gate_.wait_empty(std::chrono::seconds{1}));
  }

 private:
  const LogHook hook_;
  Gate gate_;  // held by each call of the hook
};

}  // namespace sluice
