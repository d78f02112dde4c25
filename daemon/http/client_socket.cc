// recv, send, and the two ioctls that say what the kernel holds. Thread: see the header.
#include "http/client_socket.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluiced::http {
namespace {

bool may_try_again(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Received ClientSocket::try_receive(std::span<char> room) noexcept {
  const ssize_t size = ::recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
  if (size > 0) return {Received::State::some, static_cast<std::size_t>(size)};
  if (size == 0) return {Received::State::ended, 0};
  return {may_try_again(errno) ? Received::State::nothing_yet : Received::State::broken, 0};
}

std::ptrdiff_t ClientSocket::try_send(std::string_view bytes) noexcept {
  const ssize_t size = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return size < 0 && may_try_again(errno) ? 0 : size;
}

void ClientSocket::end_writing() noexcept { ::shutdown(fd_, SHUT_WR); }

void ClientSocket::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::size_t ClientSocket::unread() const noexcept {
  int bytes = 0;
  return ::ioctl(fd_, FIONREAD, &bytes) == 0 ? static_cast<std::size_t>(std::max(bytes, 0)) : 0;
}

std::size_t ClientSocket::unconfirmed() const noexcept {
  int bytes = 0;
  return ::ioctl(fd_, SIOCOUTQ, &bytes) == 0 ? static_cast<std::size_t>(std::max(bytes, 0)) : 0;
}

}  // namespace sluiced::http
