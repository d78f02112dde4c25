// Sockets that listen: made, bound, and for a unix socket its file taken over and removed. One thread at a time.
#include "http/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "sluice/error.h"

namespace sluiced::http {
namespace {

using Kind = sluice::StartError::Kind;

constexpr int kBacklog = 4096;  // the kernel takes what net.core.somaxconn allows of it

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void refuse(const std::string& name, int error) {
  throw sluice::StartError(error == EADDRINUSE ? Kind::in_use : Kind::unusable,
                           fmt::format("listen on {}: {}", name, reason(error)));
}

int make_socket(int family, const std::string& name) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) refuse(name, errno);
  return fd;
}

void set_flag(int fd, int level, int option) noexcept {
  const int on = 1;
  (void)::setsockopt(fd, level, option, &on, sizeof on);  // wishes: nothing here fails without them
}

// The address as the kernel has it: port 0 has become a number.
std::string bound_name(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "?";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(v6.sin6_port));
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
  inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  return fmt::format("{}:{}", text.data(), ntohs(v4.sin_port));
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size() + 1, sizeof address.sun_path));
  address.sun_path[sizeof address.sun_path - 1] = '\0';
  return address;
}

// A socket's file with nobody behind it: connecting is refused. Whatever else is there is not ours to remove.
bool is_left_behind(const sockaddr_un& address, const std::string& name) {
  struct stat file {};
  if (::lstat(address.sun_path, &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  const int probe = make_socket(AF_UNIX, name);
  const bool refused =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

}  // namespace

Listener::Listener(const Address& address) {
  try {
    if (address.path.empty()) {
      listen_tcp(address);
    } else {
      listen_unix(address);
    }
  } catch (...) {
    close();
    throw;
  }
}

void Listener::listen_tcp(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  name_ = v6 ? fmt::format("[{}]:{}", address.host, address.port) : fmt::format("{}:{}", address.host, address.port);

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failed != 0) {
    throw sluice::StartError(
        Kind::unusable,
        fmt::format("listen on {}: {}", name_, failed == EAI_SYSTEM ? reason(errno) : ::gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);

  fd_ = make_socket(found->ai_family, name_);
  set_flag(fd_, SOL_SOCKET, SO_REUSEADDR);
  set_flag(fd_, IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it
  if (found->ai_family == AF_INET6) set_flag(fd_, IPPROTO_IPV6, IPV6_V6ONLY);
  if (::bind(fd_, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd_, kBacklog) != 0) refuse(name_, errno);
  name_ = bound_name(fd_);
}

void Listener::listen_unix(const Address& address) {
  name_ = fmt::format("unix:{}", address.path);
  fd_ = make_socket(AF_UNIX, name_);
  const sockaddr_un at = unix_address(address.path);
  const auto bind = [&] { return ::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0; };
  if (!bind()) {
    if (errno != EADDRINUSE) refuse(name_, errno);
    if (!is_left_behind(at, name_)) refuse(name_, EADDRINUSE);
    ::unlink(at.sun_path);
    if (!bind()) refuse(name_, errno);
  }
  struct stat file {};
  if (::lstat(at.sun_path, &file) == 0) inode_ = file.st_ino;
  path_ = address.path;
  if (::listen(fd_, kBacklog) != 0) refuse(name_, errno);
}

// The kernel gives the lowest that is free, and a connection cannot be put back: a copy of our own tries it first.
bool Listener::leaves_room(std::size_t max_descriptors) const noexcept {
  const int lowest = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (lowest < 0) return false;
  ::close(lowest);
  return static_cast<std::size_t>(lowest) < max_descriptors;
}

int Listener::accept(std::size_t max_descriptors) const noexcept {
  if (!leaves_room(max_descriptors)) {
    errno = EMFILE;
    return -1;
  }
  return ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void Listener::close() noexcept {
  if (fd_ < 0) return;
  struct stat file {};
  if (!path_.empty() && ::lstat(path_.c_str(), &file) == 0 && file.st_ino == inode_) ::unlink(path_.c_str());
  ::close(fd_);
  fd_ = -1;
}

}  // namespace sluiced::http
