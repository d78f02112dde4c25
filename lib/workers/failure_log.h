// When to tell of a failure that repeats: at once, then every ten seconds with how often it came. All workers of a pool
// share one a kind of failure, as they share their sink: one full disk is one piece of news, however many find it full.
// Any thread. It says when, and writes nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

namespace sluice {

class FailureLog {
 public:
  // How many failures this one stands for; 0: be silent.
  [[nodiscard]] std::uint64_t tell() {
    const std::lock_guard lock(mutex_);
    ++since_;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return 0;
    next_ = now + std::chrono::seconds{10};
    return std::exchange(since_, 0);
  }

 private:
  std::mutex mutex_;
  std::chrono::steady_clock::time_point next_{};  // guarded by mutex_
  std::uint64_t since_ = 0;                       // guarded by mutex_; failures since the last one that was told
};

}  // namespace sluice
