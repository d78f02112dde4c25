// What one io thread counts. Written by that thread alone; any thread may read. All loads and stores are relaxed: these
// numbers are statistics and decide nothing (but for owed(), which its own thread reads exactly).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "http/server.h"

namespace sluiced::http {

// Answers that a connection owes its client.
struct Owed {
  std::uint32_t answers = 0;
  std::uint32_t with_committer = 0;  // of those, to requests that wait for the committer

  [[nodiscard]] bool operator==(const Owed&) const = default;
};

class Statistics {
 public:
  void count_answer(int status) noexcept;
  void count_refusal(Refused why) noexcept;
  void count_wake_up() noexcept { add(wake_ups_, std::uint64_t{1}); }
  void change_owed(const Owed& before, const Owed& now) noexcept;  // of one connection

  [[nodiscard]] std::size_t owed() const noexcept { return owed_.load(std::memory_order_relaxed); }
  void add_to(Counters& counters) const;

 private:
  template <typename Number>
  static void add(std::atomic<Number>& to, Number more) noexcept {
    to.store(to.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }

  std::atomic<std::size_t> owed_{0};
  std::atomic<std::size_t> with_committer_{0};  // of those
  std::atomic<std::uint64_t> wake_ups_{0};
  std::array<std::atomic<std::uint64_t>, 600> answered_{};  // by status
  std::array<std::atomic<std::uint64_t>, kRefused> refused_{};
};

}  // namespace sluiced::http
