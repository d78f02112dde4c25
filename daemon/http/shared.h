// Shared by all threads of one server: its configuration, the budget, the count of threads that are busy while it
// drains. Synchronises itself.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <utility>

#include "http/budget.h"
#include "http/peers.h"
#include "http/server.h"

namespace sluiced::http {

struct Shared {
  explicit Shared(Config from)
      : config(std::move(from)),
        budget(config.receive_bytes),
        peers(config.max_connections_per_client),
        busy_threads(std::max<std::size_t>(config.threads, 1)) {}

  const Config config;
  Budget budget;
  Peers peers;
  std::atomic<std::size_t> connections{0};  // open now, lingering ones too

  std::mutex mutex;
  std::condition_variable changed;  // busy_threads fell to 0
  // Io threads that do not drain yet, or still owe an answer, or have not closed quiet connections yet. Guarded by
  // mutex.
  std::size_t busy_threads;
  std::function<void()> on_drained;  // guarded by mutex, also while it runs: it only wakes a thread
};

}  // namespace sluiced::http
