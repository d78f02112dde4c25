// epoll, level triggered, in batches; edge cases of closed sockets are the kernel's: it forgets them by itself. One
// thread.
#include "http/ready_set.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace sluiced::http {

ReadySet::ReadySet() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "epoll");
}

ReadySet::~ReadySet() { ::close(fd_); }

bool ReadySet::try_watch(int socket, void* who, std::uint32_t interest) noexcept {
  epoll_event event{};
  event.events = interest;
  event.data.ptr = who;
  return ::epoll_ctl(fd_, EPOLL_CTL_ADD, socket, &event) == 0;
}

void ReadySet::change(int socket, void* who, std::uint32_t interest) noexcept {
  epoll_event event{};
  event.events = interest;
  event.data.ptr = who;
  (void)::epoll_ctl(fd_, EPOLL_CTL_MOD, socket, &event);  // cannot fail for a socket that is in the set
}

std::span<const epoll_event> ReadySet::ready() noexcept {
  const int count = ::epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), 0);
  return {events_.data(), static_cast<std::size_t>(std::max(count, 0))};
}

}  // namespace sluiced::http
