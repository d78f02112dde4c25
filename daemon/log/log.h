// The log: lines from any thread, written by a thread of its own. A bounded queue between them drops the oldest lines
// and counts them. Constructed once, in main. It never waits: no caller waits for a disk or a full pipe, no stop for
// the log.
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
  // Writes lines up to and including level `most` to `fd`, which the caller owns and which is not used after close().
  // SIGPIPE must not end this process: the reader of the log may exit.
  Log(int fd, Format format, sluice::LogLevel most);
  ~Log();  // close(0)
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Queues one message, in about a microsecond. Any thread; not in a signal handler.
  void write(sluice::LogLevel level, std::string_view message) noexcept;

  // write() as a function, which may outlive the log; then, as after close(), it does nothing.
  [[nodiscard]] sluice::LogHook hook() const;

  // Waits until every message queued before the call is written or dropped. False: not in time.
  bool flush(std::chrono::nanoseconds at_most) noexcept;

  // flush(), then no line is written any more, so that the caller can write the last one. If it returns false, the
  // log's thread may be in a write(2) that the kernel does not finish; that one line may still appear. Idempotent.
  bool close(std::chrono::nanoseconds at_most) noexcept;

  // Messages dropped so far because the queue was full or memory was out.
  [[nodiscard]] std::uint64_t dropped() const noexcept;

 private:
  struct Engine;
  std::shared_ptr<Engine> engine_;  // owners: the log, and its hooks, which a worker left behind may still call
};

}  // namespace sluiced::log
