// A thread whose wait can be seen from outside: a test acts only once the other thread sleeps inside the call under
// test.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace test {

class Blocker {
 public:
  explicit Blocker(std::function<void()> call)
      : thread_([this, call = std::move(call)] {
          tid_ = ::gettid();
          call();
          ended_ = true;
        }) {}

  // True once the thread sleeps in the kernel, inside `call`; false if that does not come within 10 s.
  [[nodiscard]] bool waits() const {
    return eventually([this] { return tid_ != 0 && !ended_ && state() == 'S'; });
  }
  [[nodiscard]] bool ends() const {
    return eventually([this] { return ended_.load(); });
  }

 private:
  template <typename Condition>
  static bool eventually(Condition holds) {
    for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
         std::chrono::steady_clock::now() < end; std::this_thread::yield()) {
      if (holds()) return true;
    }
    return false;
  }
  // As proc(5) has it, behind the name in parentheses.
  [[nodiscard]] char state() const {
    std::ifstream file("/proc/self/task/" + std::to_string(tid_) + "/stat");
    std::string line;
    std::getline(file, line);
    const std::size_t name_ends = line.rfind(')');
    return name_ends == std::string::npos || name_ends + 2 >= line.size() ? '?' : line[name_ends + 2];
  }

  std::atomic<int> tid_{0};
  std::atomic<bool> ended_{false};
  std::jthread thread_;
};

}  // namespace test
