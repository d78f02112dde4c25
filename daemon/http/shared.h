// What all threads of one server share: its configuration, the budget, and who is still busy while it drains.
// Synchronises itself.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>

#include "http/budget.h"
#include "http/server.h"

namespace sluiced::http {

struct Shared {
  explicit Shared(Config from)
      : config(std::move(from)), budget(config.receive_bytes), busy_loops(std::max<std::size_t>(config.threads, 1)) {}

  const Config config;
  Budget budget;
  std::atomic<std::size_t> connections{0};  // open now, lingering ones too

  std::mutex mutex;
  std::condition_variable changed;  // busy_loops fell to 0
  std::size_t busy_loops;           // guarded by mutex; loops that do not drain yet, or still owe something
};

}  // namespace sluiced::http
