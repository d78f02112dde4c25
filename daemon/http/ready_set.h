// Which sockets are ready: an epoll set of our own, itself watched by the event loop as one descriptor. The loop's own
// way to wait for a socket costs a syscall more for each request (a read that finds nothing, or an epoll_ctl: seen on
// five requests of six); here one call serves all that are ready. One thread, that of its loop.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sluiced::http {

class ReadySet {
 public:
  static constexpr std::size_t kBatch = 128;

  ReadySet();  // throws std::system_error
  ~ReadySet();
  ReadySet(const ReadySet&) = delete;
  ReadySet& operator=(const ReadySet&) = delete;

  // From here `who` is given when one of `interest` (EPOLLIN, EPOLLOUT) holds, or the other end is gone. Closing the
  // socket ends it. False: the kernel has no room.
  [[nodiscard]] bool try_watch(int socket, void* who, std::uint32_t interest) noexcept;
  void change(int socket, void* who, std::uint32_t interest) noexcept;

  // Who is ready now, each once, without waiting; valid until the next call.
  [[nodiscard]] std::span<const epoll_event> ready() noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
  std::array<epoll_event, kBatch> events_{};
};

}  // namespace sluiced::http
