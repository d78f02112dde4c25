// A child process as a test sees it: what it says, how it ends, what /proc tells of it. Its stderr and stdout are read
// all the time by a thread of ours, so that it never waits for us unless a test wants that (plug_stderr).
// To be used on one thread; it signals by pid only, and its child dies with it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/fd.h"
#include "support/paths.h"

namespace test {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How many files a child may have open; 0: as many as we.
struct Descriptors {
  std::size_t soft = 0, hard = 0;
};

class Process {
 public:
  // `command`: the program's path, then its arguments. `environment`: NAME=value; nothing of ours is inherited.
  Process(const std::vector<std::string>& command, const std::vector<std::string>& environment,
          const Descriptors& descriptors = {});
  ~Process();  // kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] Clock::time_point started() const noexcept { return started_; }

  void signal(int number) const;

  // The first line on stderr that contains `text`; nothing if stderr ends or the limit passes first.
  [[nodiscard]] std::optional<std::string> wait_line(std::string_view text, milliseconds limit);

  struct Exit {
    int code = -1;  // 128 + number if a signal ended it, as a shell says it
    Clock::time_point at;
  };
  // How and when it ended; nothing if it has not by then.
  [[nodiscard]] std::optional<Exit> wait_exit(milliseconds limit);

  // What it has written so far; all of it once wait_exit has said how it ended.
  [[nodiscard]] std::string errors() const;
  [[nodiscard]] std::string output() const;

  // From here nobody reads its stderr, and there is no room for one more byte in it.
  void plug_stderr();

  // From /proc, in bytes. The peak is that since the last forget_peak().
  [[nodiscard]] std::size_t resident() const;
  [[nodiscard]] std::size_t peak_resident() const;
  void forget_peak() const;
  [[nodiscard]] std::vector<std::string> thread_names() const;
  [[nodiscard]] std::vector<std::string> open_files() const;  // what each is open on, sorted
  [[nodiscard]] milliseconds cpu_time() const;                // used so far, by all its threads

 private:
  void read_all();
  void stop_reading();

  pid_t pid_ = -1;
  Clock::time_point started_;
  Fd pidfd_;
  Fd stderr_;
  Fd stdout_;
  Fd enough_;  // readable: the reader shall end
  std::optional<Exit> exit_;

  mutable std::mutex mutex_;
  std::condition_variable said_;
  std::string errors_;         // guarded by mutex_
  std::string output_;         // guarded by mutex_
  bool stderr_ended_ = false;  // guarded by mutex_
  std::jthread reader_;        // last: it uses all of the above
};

}  // namespace test
