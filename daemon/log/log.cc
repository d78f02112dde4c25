// spdlog's asynchronous logger with one sink of ours. Its queue holds the lines, its thread writes them; it is the only
// thread that is inside Writer::log(). Its pool joins that thread on destruction, which must never wait for a write: so
// a pool whose thread is busy is left behind for good.
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

constexpr std::size_t kQueueLines = 1024;  // of kMaxLine bytes at most: 2 MiB, and 0.4 MiB as lines are

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

// Writes lines to a descriptor, whole ones, until it is closed.
class Writer final : public spdlog::sinks::sink {
 public:
  Writer(int fd, Format format, Pool& pool) noexcept : fd_(fd), format_(format), pool_(pool) {}

  // On the log's thread. Must not throw: there is nobody to tell. Once closed it only counts, without waiting for
  // anything.
  void log(const spdlog::details::log_msg& message) noexcept override {
    if (begin_message()) {
      try {
        tell_dropped(message.time);
        put(make_line(format_, ours(message.level), message.time, {message.payload.data(), message.payload.size()}));
      } catch (...) {  // no memory for a line: it is dropped
        ++failed_;
      }
    }
    end_message();
  }

  // Waits until `messages` have left the queue by either end. The queue tells nobody when it drops one, so look now and
  // then.
  bool wait_finished(std::uint64_t messages, Clock::time_point deadline) {
    constexpr std::chrono::milliseconds kLook{5};
    std::unique_lock lock(mutex_);
    while (finished_ + pool_.overrun_counter() + failed_to_queue_ < messages) {
      const auto now = Clock::now();
      if (now >= deadline) return false;
      changed_.wait_until(lock, std::min(deadline, now + kLook));
    }
    return true;
  }

  // From here no write begins; waits for one that has. True if none is left.
  bool close(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    is_closed_ = true;
    return changed_.wait_until(lock, deadline, [&] { return !is_writing_; });
  }

  // After close(): whether the thread may still be waiting for the kernel.
  [[nodiscard]] bool is_busy() const {
    const std::scoped_lock lock(mutex_);
    return is_busy_;
  }

  void count_failed_to_queue() noexcept { ++failed_to_queue_; }
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_ + failed_to_queue_; }

  // spdlog's other wishes: lines are not buffered, and have no pattern.
  void flush() override {}
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

 private:
  // What the queue dropped is older than the message in hand: so it is told first.
  void tell_dropped(std::chrono::system_clock::time_point time) {
    const std::size_t dropped = pool_.overrun_counter();
    if (dropped == told_) return;
    put(make_line(format_, sluice::LogLevel::warn, time, "log: " + std::to_string(dropped - told_) + " lines dropped"));
    told_ = dropped;
  }

  // Waits for room before it writes, and looks at is_closed_ in between: a reader who does not read holds this thread,
  // but never inside a write, from where it could not be called back.
  void put(std::string_view line) {
    constexpr int kLook = 50;  // ms
    while (!line.empty()) {
      pollfd room{fd_, POLLOUT, 0};
      const int ready = ::poll(&room, 1, kLook);
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
  Pool& pool_;            // whose thread this runs on
  std::size_t told_ = 0;  // of the queue's drops; the log's thread only
  std::atomic<std::uint64_t> failed_ = 0, failed_to_queue_ = 0;

  mutable std::mutex mutex_;  // never held during a system call that could wait
  std::condition_variable changed_;
  std::uint64_t finished_ = 0;  // guarded by mutex_; messages that log() is through with
  bool is_busy_ = false;        // guarded by mutex_; has a message in hand that it may have to wait with
  bool is_writing_ = false;     // guarded by mutex_; inside write(2)
  bool is_closed_ = false;      // guarded by mutex_; never returns to false
};

// Keeps a pool for ever, reachable, so that no leak is seen where none is meant to be hidden.
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
    // Otherwise it would write to stderr, and wait there.
    logger->set_error_handler([counter = writer.get()](const std::string&) { counter->count_failed_to_queue(); });
  }

  void write(sluice::LogLevel level, std::string_view message) noexcept {
    if (is_closed || !logger->should_log(theirs(level))) return;
    ++queued;
    // Every character takes a byte or more of the line, so what is beyond kMaxLine is never seen; one byte more shows
    // the cut.
    message = message.substr(0, kMaxLine + 1);
    try {
      logger->log(theirs(level), spdlog::string_view_t{message.data(), message.size()});
    } catch (...) {
      writer->count_failed_to_queue();
    }
  }

  std::shared_ptr<Pool> pool;                          // let go by ~Log, touched by nobody else after the constructor
  const std::shared_ptr<Writer> writer;                // owners: this, and the logger
  const std::shared_ptr<spdlog::async_logger> logger;  // owners: this, and each message in the queue
  std::atomic<std::uint64_t> queued = 0;
  std::atomic<bool> is_closed = false;
};

Log::Log(int fd, Format format, sluice::LogLevel most) : engine_(std::make_shared<Engine>(fd, format, most)) {}

Log::~Log() {
  close(std::chrono::nanoseconds{0});
  std::shared_ptr<Pool> pool = std::move(engine_->pool);
  // Not busy and closed: it has nothing to wait for any more, and is joined at once.
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
