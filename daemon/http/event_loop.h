// The event loop of one thread: an epoll set, timers, and jobs that other threads post. post(), wake() and stop() may
// be called by any thread; all else belongs to the thread in run(), or to the one that sets the loop up before. It
// never waits for anything but its set, and refuses only a descriptor for which the kernel has no memory.
//
// Why not Asio: its way to wait for a socket costs one more syscall a request (a read that finds nothing, or an
// epoll_ctl: measured on five requests of six). TLS will be OpenSSL with memory BIOs on this loop, not Asio's
// ssl::stream: so all socket calls stay in one place, and all bytes that TLS holds are charged to the server's budget.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace sluiced::http {

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;

  // Waits for a descriptor.
  class Watcher {
   public:
    Watcher() = default;
    virtual ~Watcher() = default;
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    // `events`: EPOLLIN, EPOLLOUT, EPOLLHUP …. May destroy any watcher, this one too.
    virtual void on_ready(std::uint32_t events) = 0;
  };

  // Calls a function once, when its time has come. Created, used and destroyed on the loop's thread, before the loop.
  class Timer {
   public:
    Timer(EventLoop& loop, std::function<void()> expired);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void set(Clock::time_point when) noexcept;  // replaces the time that was set before
    void cancel() noexcept;
    [[nodiscard]] bool is_set() const noexcept { return is_set_; }

   private:
    friend class EventLoop;

    EventLoop& loop_;
    const std::function<void()> expired_;
    Clock::time_point when_{};
    std::uint64_t order_ = 0;  // of the calls of set()
    bool is_set_ = false;
  };

  // `woken` is called on the loop's thread after each wake(); several calls of wake() may share one call of it. Throws
  // std::system_error.
  explicit EventLoop(std::function<void()> woken = {});
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Returns after stop(). One turn: the sockets that are ready, then jobs and `woken`, then timers that are due. An
  // exception of any of these leaves run(); the next run() goes on behind the function that threw.
  void run();
  void stop() noexcept;                  // for good; jobs that have not run by then never run
  void post(std::function<void()> job);  // jobs run in the order of their posts
  void wake() noexcept;                  // does not allocate or lock

  // From here the watcher is called while one of `interest` (EPOLLIN, EPOLLOUT) holds, or the other end is gone: level
  // triggered. Closing the descriptor ends it. False: the kernel has no memory.
  [[nodiscard]] bool try_watch(int fd, Watcher& watcher, std::uint32_t interest) noexcept;
  void change(int fd, Watcher& watcher, std::uint32_t interest) noexcept;
  // To be called before a watcher is destroyed: events of this turn do not reach it any more.
  void forget(const Watcher& watcher) noexcept;

 private:
  static constexpr std::size_t kBatch = 128;

  void wait();
  void dispatch();
  void run_jobs();
  void run_timers();
  [[nodiscard]] int timeout() const noexcept;
  [[nodiscard]] static bool later(const Timer* a, const Timer* b) noexcept;

  const std::function<void()> woken_;
  const int epoll_fd_;
  const int wake_fd_;
  std::atomic<bool> stopped_{false};

  // The batch that epoll_wait returned; events before next_ have been dispatched. 0 <= next_ <= ready_ <= kBatch
  std::array<epoll_event, kBatch> batch_{};
  std::size_t next_ = 0;
  std::size_t ready_ = 0;
  bool was_woken_ = false;  // jobs and `woken` are due

  std::vector<Timer*> timers_;  // set ones only: a heap, the earliest first
  std::size_t timers_made_ = 0;
  std::uint64_t timers_set_ = 0;

  std::mutex mutex_;
  std::deque<std::function<void()>> jobs_;  // guarded by mutex_
};

}  // namespace sluiced::http
