// One epoll_wait a turn, and one eventfd for everything that other threads want. Timers are few (connections have
// deadlines that one timer sweeps), so cancelling one may cost a walk through all.
#include "http/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

namespace sluiced::http {
namespace {

int checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
  return fd;
}

}  // namespace

EventLoop::EventLoop(std::function<void()> woken)
    : woken_(std::move(woken)),
      epoll_fd_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll")),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Recognised by its null. Edge triggered: a wake-up costs one write and no read.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  if (wake_fd_ >= 0 && ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0) return;
  const int error = errno;
  if (wake_fd_ >= 0) ::close(wake_fd_);
  ::close(epoll_fd_);
  throw std::system_error(error, std::generic_category(), "eventfd");
}

EventLoop::~EventLoop() {
  assert(timers_made_ == 0 && "an event loop ended before its timers");
  ::close(wake_fd_);
  ::close(epoll_fd_);
}

void EventLoop::run() {
  while (!stopped_) {
    if (next_ == ready_) wait();
    dispatch();
    if (was_woken_) run_jobs();
    run_timers();
  }
}

void EventLoop::stop() noexcept {
  stopped_ = true;
  wake();
}

void EventLoop::post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake();
}

// The count is never read back: each write is an edge of its own, and 2^64 of them fit.
void EventLoop::wake() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
  assert(written == sizeof one && "an eventfd is full");
}

// ---- sockets

bool EventLoop::try_watch(int fd, Watcher& watcher, std::uint32_t interest) noexcept {
  epoll_event event{};
  event.events = interest;
  event.data.ptr = &watcher;
  return ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void EventLoop::change(int fd, Watcher& watcher, std::uint32_t interest) noexcept {
  epoll_event event{};
  event.events = interest;
  event.data.ptr = &watcher;
  (void)::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);  // cannot fail for a descriptor that is in the set
}

void EventLoop::forget(const Watcher& watcher) noexcept {
  for (std::size_t i = next_; i < ready_; ++i) {
    if (batch_[i].data.ptr == &watcher) batch_[i].events = 0;
  }
}

void EventLoop::wait() {
  next_ = ready_ = 0;
  const int count = ::epoll_wait(epoll_fd_, batch_.data(), static_cast<int>(batch_.size()), timeout());
  ready_ = static_cast<std::size_t>(std::max(count, 0));  // -1: a signal
}

void EventLoop::dispatch() {
  while (next_ < ready_) {
    const epoll_event event = batch_[next_++];
    if (event.data.ptr == nullptr) {
      was_woken_ = true;
    } else if (event.events != 0) {
      static_cast<Watcher*>(event.data.ptr)->on_ready(event.events);
    }
  }
}

// ---- jobs

// No more than are there now: a job that posts the next one must not keep sockets waiting. That one has its own wake().
void EventLoop::run_jobs() {
  std::unique_lock lock(mutex_);
  for (std::size_t left = jobs_.size(); left > 0; --left) {
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
  lock.unlock();
  if (woken_) woken_();
  was_woken_ = false;  // last: after an exception they are still due
}

// ---- timers

EventLoop::Timer::Timer(EventLoop& loop, std::function<void()> expired) : loop_(loop), expired_(std::move(expired)) {
  loop_.timers_.reserve(loop_.timers_made_ + 1);  // so set() need not allocate
  ++loop_.timers_made_;
}

EventLoop::Timer::~Timer() {
  cancel();
  --loop_.timers_made_;
}

void EventLoop::Timer::set(Clock::time_point when) noexcept {
  cancel();
  when_ = when;
  order_ = loop_.timers_set_++;
  is_set_ = true;
  loop_.timers_.push_back(this);
  std::push_heap(loop_.timers_.begin(), loop_.timers_.end(), later);
}

void EventLoop::Timer::cancel() noexcept {
  if (!std::exchange(is_set_, false)) return;
  std::erase(loop_.timers_, this);
  std::make_heap(loop_.timers_.begin(), loop_.timers_.end(), later);
}

bool EventLoop::later(const Timer* a, const Timer* b) noexcept {
  return a->when_ != b->when_ ? a->when_ > b->when_ : a->order_ > b->order_;
}

// Timers that are due now, at most as many as are set: one that sets itself to the past must not keep sockets waiting.
void EventLoop::run_timers() {
  if (timers_.empty()) return;
  const Clock::time_point now = Clock::now();
  for (std::size_t left = timers_.size(); left > 0 && !timers_.empty() && timers_.front()->when_ <= now; --left) {
    std::pop_heap(timers_.begin(), timers_.end(), later);
    Timer* const timer = timers_.back();
    timers_.pop_back();
    timer->is_set_ = false;
    timer->expired_();
  }
}

// For epoll_wait: rounded up, so that it does not return a moment before the timer is due, again and again.
int EventLoop::timeout() const noexcept {
  if (was_woken_) return 0;
  if (timers_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.front()->when_ - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, std::numeric_limits<int>::max()));
}

}  // namespace sluiced::http
