// spdlog's asynchronous logger with a sink of our own: spdlog's queue holds the lines, its thread alone runs
// Writer::log(). Destroying its pool joins that thread, but must never wait for a write: a pool whose thread is busy is
// left behind for good.
#include "log/log.h"

#include <poll.h>
#include <pthread.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace sluiced::log {
namespace {

using Clock = std::chrono::steady_clock;
using Pool = spdlog::details::thread_pool;

constexpr std::size_t kQueueLines = 1024;  // at most 2 MiB (kMaxLine bytes each), in practice 0.4 MiB

spdlog::level::level_enum theirs(sluice::LogLevel level) noexcept {
  switch (level) {
    case sluice::LogLevel::error:
      return spdlog::level::err;
    case sluice::LogLevel::warn:
      return spdlog::level::warn;
    case sluice::LogLevel::info:
      return spdlog::level::info;
    case sluice::LogLevel::debug:
      return spdlog::level::debug;
  }
  return spdlog::level::err;
}

sluice::LogLevel ours(spdlog::level::level_enum level) noexcept {
  if (level >= spdlog::level::err) return sluice::LogLevel::error;
  if (level == spdlog::level::warn) return sluice::LogLevel::warn;
  return level == spdlog::level::info ? sluice::LogLevel::info : sluice::LogLevel::debug;
}

// Writes whole lines to a descriptor, until it is closed.
class Writer final : public spdlog::sinks::sink {
 public:
  Writer(int fd, Format format, Pool& pool) noexcept : fd_(fd), format_(format), pool_(pool) {}

  // On the log's thread. Must not throw: an error could not be logged. Once closed it only counts, and never waits.
  void log(const spdlog::details::log_msg& message) noexcept override {
    if (begin_message()) {
      try {
        report_dropped(message.time);
        put(make_line(format_, ours(message.level), message.time, {message.payload.data(), message.payload.size()}));
      } catch (...) {  // no memory for a line: it is dropped
        ++failed_;
      }
    }
    end_message();
  }

  // Waits until so many messages are written or dropped. The queue does not notify of drops, so poll.
  bool wait_finished(std::uint64_t messages, Clock::time_point deadline) {
    constexpr std::chrono::milliseconds kPoll{5};
    std::unique_lock lock(mutex_);
    while (finished_ + pool_.overrun_counter() + failed_to_queue_ < messages) {
      const auto now = Clock::now();
      if (now >= deadline) return false;
      changed_.wait_until(lock, std::min(deadline, now + kPoll));
    }
    return true;
  }

  // From here no write begins; waits for one in progress. True: none is left.
  bool close(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    is_closed_ = true;
    return changed_.wait_until(lock, deadline, [&] { return !is_writing_; });
  }

  // After close(): may the thread still be waiting for the kernel?
  [[nodiscard]] bool is_busy() const {
    const std::scoped_lock lock(mutex_);
    return is_busy_;
  }

  void count_failed_to_queue() noexcept { ++failed_to_queue_; }
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_ + failed_to_queue_; }

  // The rest of spdlog's interface: lines are not buffered, and have no pattern.
  void flush() override {}
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

 private:
  // Dropped messages are older than the current one, so this line comes first.
  void report_dropped(std::chrono::system_clock::time_point time) {
    const std::size_t dropped = pool_.overrun_counter();
    if (dropped == told_) return;
    put(make_line(format_, sluice::LogLevel::warn, time, "log: " + std::to_string(dropped - told_) + " lines dropped"));
    told_ = dropped;
  }

  // Polls before each write and checks is_closed_ in between: a reader that does not read holds up this thread, but
  // never inside a write(2), which could not be interrupted.
  void put(std::string_view line) {
    constexpr int kPoll = 50;  // ms
    while (!line.empty()) {
      pollfd out{fd_, POLLOUT, 0};
      const int ready = ::poll(&out, 1, kPoll);
      if (!begin_write()) return;
      const ssize_t written = ready > 0 ? ::write(fd_, line.data(), line.size()) : 0;
      const int error = errno;
      end_write();
      if (written < 0 && error != EINTR && error != EAGAIN) return;
      if (written > 0) line.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  [[nodiscard]] bool begin_message() {
    const std::scoped_lock lock(mutex_);
    is_busy_ = !is_closed_;
    return is_busy_;
  }

  void end_message() {
    const std::scoped_lock lock(mutex_);
    is_busy_ = false;
    ++finished_;
    changed_.notify_all();
  }

  [[nodiscard]] bool begin_write() {
    const std::scoped_lock lock(mutex_);
    is_writing_ = !is_closed_;
    return is_writing_;
  }

  void end_write() {
    const std::scoped_lock lock(mutex_);
    is_writing_ = false;
    changed_.notify_all();
  }

  const int fd_;
  const Format format_;
  Pool& pool_;            // its thread runs this
  std::size_t told_ = 0;  // drops of the queue that are logged; the log's thread only
  std::atomic<std::uint64_t> failed_ = 0, failed_to_queue_ = 0;

  mutable std::mutex mutex_;  // never held during a system call that could wait
  std::condition_variable changed_;
  std::uint64_t finished_ = 0;  // guarded by mutex_; messages that log() has finished
  bool is_busy_ = false;        // guarded by mutex_; holds a message and may wait with it
  bool is_writing_ = false;     // guarded by mutex_; inside write(2)
  bool is_closed_ = false;      // guarded by mutex_; never returns to false
};

// Keeps a pool for ever, but reachable, so that leak checkers still find real leaks.
void leave_behind(std::shared_ptr<Pool> pool) {
  static std::mutex mutex;
  static auto& left = *new std::vector<std::shared_ptr<Pool>>;  // never destroyed: that would join
  const std::scoped_lock lock(mutex);
  left.push_back(std::move(pool));
}

}  // namespace

struct Log::Engine {
  Engine(int fd, Format format, sluice::LogLevel most)
      : pool(std::make_shared<Pool>(kQueueLines, 1, [] { ::pthread_setname_np(::pthread_self(), "log"); })),
        writer(std::make_shared<Writer>(fd, format, *pool)),
        logger(std::make_shared<spdlog::async_logger>("sluiced", writer, pool,
                                                      spdlog::async_overflow_policy::overrun_oldest)) {
    logger->set_level(theirs(most));
    // spdlog's default handler writes to stderr, and may wait there.
    logger->set_error_handler([counter = writer.get()](const std::string&) { counter->count_failed_to_queue(); });
  }

  void write(sluice::LogLevel level, std::string_view message) noexcept {
    if (is_closed || !logger->should_log(theirs(level))) return;
    ++queued;
    // A character takes at least a byte of the line, so nothing beyond kMaxLine is written; one byte more makes
    // make_line() mark the cut.
    message = message.substr(0, kMaxLine + 1);
    try {
      logger->log(theirs(level), spdlog::string_view_t{message.data(), message.size()});
    } catch (...) {
      writer->count_failed_to_queue();
    }
  }

  std::shared_ptr<Pool> pool;                          // released by ~Log; not used by others after the constructor
  const std::shared_ptr<Writer> writer;                // owners: this, and the logger
  const std::shared_ptr<spdlog::async_logger> logger;  // owners: this, and each message in the queue
  std::atomic<std::uint64_t> queued = 0;
  std::atomic<bool> is_closed = false;
};

Log::Log(int fd, Format format, sluice::LogLevel most) : engine_(std::make_shared<Engine>(fd, format, most)) {}

Log::~Log() {
  close(std::chrono::nanoseconds{0});
  std::shared_ptr<Pool> pool = std::move(engine_->pool);
  // Closed and not busy: its thread is joined at once.
  if (engine_->writer->is_busy()) leave_behind(std::move(pool));
}

void Log::write(sluice::LogLevel level, std::string_view message) noexcept { engine_->write(level, message); }

sluice::LogHook Log::hook() const {
  return [engine = engine_](sluice::LogLevel level, std::string_view message) { engine->write(level, message); };
}

bool Log::flush(std::chrono::nanoseconds at_most) noexcept {
  return engine_->writer->wait_finished(engine_->queued, Clock::now() + at_most);
}

bool Log::close(std::chrono::nanoseconds at_most) noexcept {
  const auto deadline = Clock::now() + at_most;
  const bool all = engine_->writer->wait_finished(engine_->queued, deadline);
  engine_->is_closed = true;
  // A write that has begun gets a moment: nearly always it is about to return.
  const bool none_left = engine_->writer->close(std::max(deadline, Clock::now() + std::chrono::milliseconds{1}));
  return all && none_left;
}

std::uint64_t Log::dropped() const noexcept { return engine_->pool->overrun_counter() + engine_->writer->failed(); }

}  // namespace sluiced::log
