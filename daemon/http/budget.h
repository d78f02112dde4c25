// The bytes that a server may hold for its clients: bodies being received, requests half read, answers not read yet.
// All threads of a server share a Budget (one atomic); a Charge belongs to one connection and its thread. It refuses
// and never waits: without room the answer is 429, and the connection closes.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>

namespace sluiced::http {

class Budget {
 public:
  explicit Budget(std::size_t limit) noexcept : limit_(limit) {}
  ~Budget() { assert(used_ == 0 && "a budget ended with bytes charged"); }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  [[nodiscard]] bool try_charge(std::size_t bytes) noexcept {
    std::size_t used = used_.load();
    do {
      if (bytes > limit_ - used) return false;  // 0 <= used <= limit_
    } while (!used_.compare_exchange_weak(used, used + bytes));
    return true;
  }
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

// A charge that its destructor gives back.
class Charge {
 public:
  explicit Charge(Budget& budget) noexcept : budget_(budget) {}
  ~Charge() { budget_.give_back(bytes_); }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

  // False: no room, and nothing changed.
  [[nodiscard]] bool try_add(std::size_t bytes) noexcept {
    if (!budget_.try_charge(bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  void give_back(std::size_t bytes) noexcept {
    budget_.give_back(bytes);
    bytes_ -= bytes;
  }

 private:
  Budget& budget_;
  std::size_t bytes_ = 0;
};

}  // namespace sluiced::http
