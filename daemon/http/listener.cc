// Resolves names, binds sockets; takes over, locks and removes the file of a unix socket. One thread at a time.
#include "http/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "sluice/error.h"

namespace sluiced::http {
namespace {

using Kind = sluice::StartError::Kind;

// Bounds unread answers in the kernel, beside those that a ResponseWriter keeps: the kernel's default is megabytes a
// client on a loopback. The kernel doubles this number. It is not charged to the budget; the bound on connections
// bounds it. (A unix socket has net.core.wmem_default, 208 KiB, which nothing makes larger.)
constexpr int kSendBuffer = 128 << 10;
constexpr int kBacklog = 4096;  // the kernel takes what net.core.somaxconn allows of it

std::string reason(int error) { return std::generic_category().message(error); }

// Whether to try again is useful: the service manager restarts us unless the answer is `unusable`.
Kind kind_of(int error) {
  switch (error) {
    case EADDRINUSE:
      return Kind::in_use;
    case EADDRNOTAVAIL:  // an interface that is still coming up, an IPv6 address still being checked for duplicates
      return Kind::unavailable;
    case EACCES:
    case EPERM:
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EINVAL:
    case EAFNOSUPPORT:
      return Kind::unusable;
    default:
      return Kind::io;
  }
}

[[noreturn]] void refuse(const std::string& name, int error) {
  throw sluice::StartError(kind_of(error), fmt::format("listen on {}: {}", name, reason(error)));
}

int make_socket(int family, const std::string& name) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) refuse(name, errno);
  return fd;
}

void set_flag(int fd, int level, int option) noexcept {
  const int on = 1;
  (void)::setsockopt(fd, level, option, &on, sizeof on);  // optional: nothing fails without them
}

// The bound address: the kernel has replaced port 0 by a number.
Endpoint bound_endpoint(int fd) noexcept {
  Endpoint bound;
  bound.size = sizeof bound.address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound.address), &bound.size) != 0) bound = {};
  return bound;
}

std::string name_of(const Address& address) {
  if (!address.path.empty()) return fmt::format("unix:{}", address.path);
  const bool v6 = address.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address.host, address.port) : fmt::format("{}:{}", address.host, address.port);
}

// Closes its descriptor, unless it was released.
class Socket {
 public:
  explicit Socket(int fd) noexcept : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(other.release()) {}
  Socket& operator=(Socket&&) = delete;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// A bound TCP socket, or -1 and `error`.
Socket bind_tcp(const Endpoint& endpoint, bool ipv6_alone, int& error) {
  Socket made(::socket(endpoint.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  error = made.get() < 0 ? errno : 0;
  if (error != 0) return made;
  set_flag(made.get(), SOL_SOCKET, SO_REUSEADDR);
  set_flag(made.get(), IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it, and the next
  (void)::setsockopt(made.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  if (ipv6_alone && endpoint.family() == AF_INET6) set_flag(made.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (::bind(made.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.size) != 0) error = errno;
  return error == 0 ? std::move(made) : Socket(-1);
}

// A family that this kernel lacks, or a disabled IPv6 loopback, which /etc/hosts still names. Any other missing address
// may appear later.
bool may_be_missing(const Endpoint& endpoint, int error) {
  return error == EAFNOSUPPORT || (error == EADDRNOTAVAIL && endpoint.loopback());
}

bool takes_ipv4_any(const std::vector<Endpoint>& endpoints, std::uint16_t port) {
  return std::any_of(endpoints.begin(), endpoints.end(), [port](const Endpoint& endpoint) {
    return endpoint.family() == AF_INET && endpoint.any() && endpoint.port() == port;
  });
}

// Tries all of them once. Empty: the port that the kernel chose is in use on another of the addresses.
std::vector<Socket> bind_all(std::vector<Endpoint> endpoints, const std::string& name, const sluice::LogHook& log,
                             bool ipv6_alone, const std::function<void(std::uint16_t port)>& bound) {
  const bool chosen = endpoints.front().port() == 0;
  std::vector<Socket> sockets;
  std::vector<std::string> missing;
  int why_missing = 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    int error = 0;
    Socket made = bind_tcp(endpoints[i], ipv6_alone, error);
    if (error == EADDRINUSE && chosen && !sockets.empty()) return {};
    if (error != 0 && (!may_be_missing(endpoints[i], error) || endpoints.size() == 1)) refuse(name, error);
    if (error != 0) {
      missing.push_back(endpoints[i].text());
      why_missing = error;
      continue;
    }
    if (chosen && sockets.empty()) {
      const std::uint16_t port = bound_endpoint(made.get()).port();
      for (Endpoint& endpoint : endpoints) endpoint.set_port(port);
      if (bound) bound(port);
    }
    sockets.push_back(std::move(made));
  }
  if (sockets.empty()) refuse(name, why_missing);
  for (const std::string& address : missing) {
    if (log) {
      log(sluice::LogLevel::warn, fmt::format("listen on {}: not on {}: {}", name, address, reason(why_missing)));
    }
  }
  return sockets;
}

// Throws StartError for a group that does not exist.
gid_t group_named(const std::string& group, const std::string& name) {
  gid_t number = 0;
  const auto [end, wrong] = std::from_chars(group.data(), group.data() + group.size(), number);
  if (wrong == std::errc{} && end == group.data() + group.size()) return number;
  std::vector<char> memory(std::size_t{1} << 16U);
  struct group entry {};
  struct group* found = nullptr;
  const int error = ::getgrnam_r(group.c_str(), &entry, memory.data(), memory.size(), &found);
  if (found != nullptr) return found->gr_gid;
  const bool known = error == 0 || error == ENOENT || error == ESRCH;  // that it does not exist
  throw sluice::StartError(
      known ? Kind::unusable : Kind::unavailable,
      fmt::format("listen on {}: group {}: {}", name, group, known ? "no such group" : reason(error)));
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size() + 1, sizeof address.sun_path));
  address.sun_path[sizeof address.sun_path - 1] = '\0';
  return address;
}

// A socket's file without a process: connecting is refused. Any other file is not ours to remove.
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

Listener::Listener(int fd) : fd_(fd), name_(bound_endpoint(fd).text()) {}

Listener::Listener(const Address& address, const std::function<void()>& bound) : name_(name_of(address)) {
  if (address.path.size() >= sizeof(sockaddr_un::sun_path)) refuse(name_, ENAMETOOLONG);
  fd_ = make_socket(AF_UNIX, name_);
  try {
    lock_path(address.path);
    bind_file(address, bound);
    if (::listen(fd_, kBacklog) != 0) refuse(name_, errno);
  } catch (...) {
    close();
    throw;
  }
}

// Between bind() and listen() a socket looks like one that a dead process left. So a process holds this lock from
// before it takes the path over until it has removed the socket's file. After locking, check that the name still is
// this file: the former holder may have removed the lock's file.
void Listener::lock_path(const std::string& path) {
  const std::string name = path + ".lock";
  constexpr int kTries = 100;  // each fails only if another process came and went meanwhile
  for (int i = 0; i < kTries; ++i) {
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0) {
      throw sluice::StartError(kind_of(errno), fmt::format("listen on {}: {}: {}", name_, name, reason(errno)));
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      ::close(fd);
      refuse(name_, error == EWOULDBLOCK ? EADDRINUSE : error);
    }
    struct stat held {};
    struct stat named {};
    const bool is_named = ::fstat(fd, &held) == 0 && ::lstat(name.c_str(), &named) == 0 &&
                          held.st_ino == named.st_ino && held.st_dev == named.st_dev;
    if (is_named) {
      lock_fd_ = fd;
      lock_name_ = name;
      return;
    }
    ::close(fd);
  }
  refuse(name_, EADDRINUSE);
}

void Listener::unlock_path() noexcept {
  if (lock_fd_ < 0) return;
  ::unlink(lock_name_.c_str());
  ::close(std::exchange(lock_fd_, -1));
}

// No client can connect before the socket listens, or open its file before mode and group are right: until then only
// its owner can, whatever the umask (which is the process's, so it is not changed here).
void Listener::bind_file(const Address& address, const std::function<void()>& bound) {
  const std::optional<gid_t> group =
      address.group.empty() ? std::nullopt : std::optional(group_named(address.group, name_));
  if (::fchmod(fd_, S_IRUSR | S_IWUSR) != 0) refuse(name_, errno);  // bind() gives it to the file
  const sockaddr_un at = unix_address(address.path);
  const auto bind = [&] { return ::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0; };
  if (!bind()) {
    if (errno != EADDRINUSE) refuse(name_, errno);
    if (!is_left_behind(at, name_)) refuse(name_, EADDRINUSE);
    ::unlink(at.sun_path);
    if (!bind()) refuse(name_, errno);
  }
  path_ = address.path;
  struct stat file {};
  if (::lstat(at.sun_path, &file) != 0) refuse(name_, errno);
  inode_ = file.st_ino;
  if (bound) bound();
  // Skipped if the group is right already: a service may be forbidden to change owners, and run in that group.
  if (group && file.st_gid != *group && ::lchown(at.sun_path, static_cast<uid_t>(-1), *group) != 0) {
    throw sluice::StartError(
        Kind::unusable, fmt::format("listen on {}: group {}: {}; sluiced must be in that group, as a service by Group=",
                                    name_, address.group, reason(errno)));
  }
  if (::chmod(at.sun_path, address.mode) != 0) refuse(name_, errno);
}

// Probes with a duplicate of our own descriptor, which gets the lowest free number: an accepted socket cannot be
// un-accepted.
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
  unlock_path();
}

std::uint16_t Endpoint::port() const noexcept {
  return ntohs(family() == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                    : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

void Endpoint::set_port(std::uint16_t port) noexcept {
  if (family() == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  }
}

bool Endpoint::any() const noexcept {
  if (family() == AF_INET) return reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr == htonl(INADDR_ANY);
  return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

bool Endpoint::loopback() const noexcept {
  if (family() == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  }
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

std::string Endpoint::text() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), port());
  }
  inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text.data(), text.size());
  return fmt::format("{}:{}", text.data(), port());
}

bool is_open_to_others(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 4> kOfThisMachine{"unix:", "127.", "[::1]:", "[::ffff:127."};
  return std::none_of(kOfThisMachine.begin(), kOfThisMachine.end(),
                      [name](std::string_view begin) { return name.starts_with(begin); });
}

std::vector<Endpoint> resolve(const Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failed != 0) {
    // Even a name that does not exist may exist later: a machine that boots asks before its network is up.
    throw sluice::StartError(Kind::unavailable,
                             fmt::format("listen on {}: {}", name_of(address),
                                         failed == EAI_SYSTEM ? reason(errno) : ::gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  std::vector<Endpoint> endpoints;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    Endpoint endpoint;
    if (entry->ai_addrlen > sizeof endpoint.address) continue;
    std::memcpy(&endpoint.address, entry->ai_addr, entry->ai_addrlen);
    endpoint.size = entry->ai_addrlen;
    // /etc/hosts may name one address twice.
    const bool known = std::any_of(endpoints.begin(), endpoints.end(), [&endpoint](const Endpoint& other) {
      return other.size == endpoint.size && std::memcmp(&other.address, &endpoint.address, other.size) == 0;
    });
    if (!known) endpoints.push_back(endpoint);
  }
  return endpoints;
}

std::vector<Listener> listen_on(std::vector<Endpoint> endpoints, const std::string& name, const sluice::LogHook& log,
                                bool ipv6_alone, const std::function<void(std::uint16_t port)>& bound) {
  constexpr int kTries = 16;  // each fails as often as the port range is full
  ipv6_alone = ipv6_alone || takes_ipv4_any(endpoints, endpoints.front().port());
  for (int i = 0; i < kTries; ++i) {
    std::vector<Listener> listeners;
    for (Socket& socket : bind_all(endpoints, name, log, ipv6_alone, bound)) {
      // EADDRINUSE: of two processes that were bound at the same time, the other one listened first.
      if (::listen(socket.get(), kBacklog) != 0) refuse(name, errno);
      listeners.emplace_back(socket.release());
    }
    if (!listeners.empty()) return listeners;
  }
  refuse(name, EADDRINUSE);
}

std::vector<Listener> listen_on(const std::vector<Address>& addresses, const sluice::LogHook& log) {
  std::vector<std::vector<Endpoint>> resolved(addresses.size());
  std::vector<Endpoint> all;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (!addresses[i].path.empty()) continue;
    resolved[i] = resolve(addresses[i]);
    all.insert(all.end(), resolved[i].begin(), resolved[i].end());
  }
  std::vector<Listener> listeners;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Address& address = addresses[i];
    if (!address.path.empty()) {
      try {
        listeners.emplace_back(address);
      } catch (const sluice::StartError& error) {
        if (!address.optional) throw;
        if (log) log(sluice::LogLevel::warn, error.what());
      }
      continue;
    }
    for (Listener& made : listen_on(resolved[i], name_of(address), log, takes_ipv4_any(all, address.port))) {
      listeners.push_back(std::move(made));
    }
  }
  return listeners;
}

namespace {

std::string try_unix(const Address& address) {
  const std::string name = name_of(address);
  if (!address.group.empty()) static_cast<void>(group_named(address.group, name));
  struct stat file {};
  if (::lstat(address.path.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) refuse(name, EADDRINUSE);
    return fmt::format("{} is there already: in use now, or left behind", name);
  }
  const std::filesystem::path directory = std::filesystem::path(address.path).parent_path();
  if (::faccessat(AT_FDCWD, directory.empty() ? "." : directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    refuse(name, errno);
  }
  return {};
}

}  // namespace

// A bound socket that does not listen disturbs no other: with SO_REUSEADDR, a daemon that starts meanwhile can bind,
// too.
std::string try_address(const Address& address) {
  if (!address.path.empty()) return try_unix(address);
  const std::string name = name_of(address);
  const std::vector<Endpoint> endpoints = resolve(address);
  std::string remark;
  std::size_t missing = 0;
  int error = 0;
  for (const Endpoint& endpoint : endpoints) {
    static_cast<void>(bind_tcp(endpoint, false, error));
    if (error == EADDRINUSE) {
      remark = fmt::format("{} is in use now, perhaps by a sluiced that runs", name);
    } else if (error != 0) {
      if (!may_be_missing(endpoint, error) || ++missing == endpoints.size()) refuse(name, error);
    }
  }
  return remark;
}

}  // namespace sluiced::http
