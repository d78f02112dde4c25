// The log: lines from any thread, written by one thread of its own through a bounded queue that drops the oldest and
// counts. Made once, in main. It refuses to wait: not a caller for the disk or a full pipe, not a stop for the log.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "log/line.h"
#include "sluice/options.h"

namespace sluiced::log {

class Log {
 public:
  // Lines up to and including `most` go to `fd`, which stays the caller's and is not touched after close(). SIGPIPE
  // must be ignored in this process: whoever reads the log may leave.
  Log(int fd, Format format, sluice::LogLevel most);
  ~Log();  // close() without waiting; see there
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Queues one message; returns in about a microsecond. Any thread, not in a signal handler.
  void write(sluice::LogLevel level, std::string_view message) noexcept;

  // The same as a function, which may outlive the log: then, as after close(), it does nothing.
  [[nodiscard]] sluice::LogHook hook() const;

  // Waits until every message queued before the call is written or dropped; true if so.
  bool flush(std::chrono::nanoseconds at_most) noexcept;

  // flush(), and the end: nothing is written after it has returned, so that who called may write the last line himself.
  // The exception: it returned false, and the log's thread was already inside a write(2) that the kernel does not
  // finish; that one line may still come. Idempotent.
  bool close(std::chrono::nanoseconds at_most) noexcept;

  // Messages for which there was no room, or no memory, so far.
  [[nodiscard]] std::uint64_t dropped() const noexcept;

 private:
  struct Engine;
  std::shared_ptr<Engine> engine_;  // owners: the log, and its hooks, which a worker that was let go may still call
};

}  // namespace sluiced::log
