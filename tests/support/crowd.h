// A crowd of clients that are slow on purpose: each sends a byte a second, or reads one, or does nothing at all. One
// thread for all of them, which looks at each once a second, so that they come one by one. It remembers how each was
// answered and that it was closed, and never opens one again.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/fd.h"
#include "support/process.h"

namespace test {

struct CrowdPlan {
  std::string address;
  std::size_t connections = 1000;
  std::string at_once;    // what each sends once it has connected, as far as it is taken
  std::string slowly;     // then a byte of this each second, over and over; empty: nothing
  bool sips = false;      // reads a byte each second; else all that has come
  int receive_bytes = 0;  // as SO_RCVBUF; 0: the system's own
};

class Crowd {
 public:
  explicit Crowd(const CrowdPlan& plan);  // all are connected once constructed
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // How many turns each that is open has had.
  [[nodiscard]] std::size_t turns() const noexcept { return turns_.load(); }
  // Waits until each that is open has had so many turns, or until the daemon has closed all. False at the limit.
  [[nodiscard]] bool wait_turns(std::size_t turns, milliseconds limit) const;
  [[nodiscard]] bool wait_all_closed(milliseconds limit) const;
  [[nodiscard]] std::size_t open() const noexcept { return open_.load(); }

  // The status of each one's first answer; 0 for those that were closed without one.
  [[nodiscard]] std::map<int, std::size_t> first_answers() const;

 private:
  struct Member {
    Fd fd;
    std::string heard;     // the beginning of what came
    std::size_t sent = 0;  // bytes of `slowly`
  };

  void run(const std::stop_token& stop);
  void take_turn(Member& member);
  void hear(Member& member);
  void sip(Member& member);
  void close(Member& member);

  const CrowdPlan plan_;
  std::vector<Member> members_;  // the thread's, once it runs
  std::atomic<std::size_t> open_{0};
  std::atomic<std::size_t> turns_{0};
  mutable std::mutex mutex_;
  std::map<int, std::size_t> answers_;  // guarded by mutex_
  std::jthread thread_;                 // last: it uses all of the above
};

}  // namespace test
