// A listening socket, TCP or unix, from bind to the file's removal. Made on the thread that starts the server, used by
// the one that accepts. An address that is taken (StartError in_use), not there yet (unavailable) or of no use here
// (unusable) is refused; a unix socket that a dead process left is taken over.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/server.h"
#include "sluice/options.h"

namespace sluiced::http {

class Listener {
 public:
  // A TCP socket that listens already; owned from here.
  explicit Listener(int fd);
  // A unix socket: bound, its file with the group and mode of `address` before anybody can connect. `bound`: called
  // between the two, where a test sees the file as it is at first.
  explicit Listener(const Address& address, const std::function<void()>& bound = {});
  ~Listener() { close(); }
  Listener(Listener&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        name_(std::move(other.name_)),
        path_(std::move(other.path_)),
        inode_(other.inode_),
        lock_name_(std::move(other.lock_name_)),
        lock_fd_(std::exchange(other.lock_fd_, -1)) {}
  Listener& operator=(Listener&&) = delete;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Whether a descriptor below this is free, for one more connection.
  [[nodiscard]] bool leaves_room(std::size_t max_descriptors) const noexcept;

  // A connection's socket (non-blocking, and without delay if TCP), or -1 with errno; EMFILE also if no descriptor
  // below `max_descriptors` is free.
  [[nodiscard]] int accept(std::size_t max_descriptors) const noexcept;

  // Stops listening and removes the socket's file, if it is still ours. Idempotent.
  void close() noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool tcp() const noexcept { return path_.empty(); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }  // as bound

 private:
  void lock_path(const std::string& path);
  void unlock_path() noexcept;
  void bind_file(const Address& address, const std::function<void()>& bound);

  int fd_ = -1;
  std::string name_;
  std::string path_;              // of a unix socket
  unsigned long long inode_ = 0;  // of its file: another process may have put its own there
  std::string lock_name_;
  int lock_fd_ = -1;  // of PATH.lock, held while the path is ours: a socket that nobody answers may be about to
};

// One socket address of a TCP listener, as the resolver or a test gives it.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;

  [[nodiscard]] int family() const noexcept { return address.ss_family; }
  [[nodiscard]] std::uint16_t port() const noexcept;
  void set_port(std::uint16_t port) noexcept;
  [[nodiscard]] bool any() const noexcept;       // 0.0.0.0 or ::
  [[nodiscard]] bool loopback() const noexcept;  // 127.0.0.1 or ::1
  [[nodiscard]] std::string text() const;        // 127.0.0.1:7070, [::1]:7070
};

// All distinct addresses of the name or number, in the resolver's order; never empty. Waits for the resolver.
[[nodiscard]] std::vector<Endpoint> resolve(const Address& address);

// A listener each, all on one port: where that is 0, the kernel chooses it for the first, and chooses again if another
// has it taken. An IPv6 loopback or a family that this machine does not have is passed over with a warning, unless
// nothing else is left. [::] takes IPv4 as net.ipv6.bindv6only says, but never if 0.0.0.0 is to have the same port.
// `name`: what the operator wrote. `bound`: called after the first bind, where a test takes the port of the next.
[[nodiscard]] std::vector<Listener> listen_on(std::vector<Endpoint> endpoints, const std::string& name,
                                              const sluice::LogHook& log, bool ipv6_alone = false,
                                              const std::function<void(std::uint16_t port)>& bound = {});

// Whether other machines may reach an address, by its name as bound.
[[nodiscard]] bool is_open_to_others(std::string_view name) noexcept;

// Listeners for all of these, in their order.
[[nodiscard]] std::vector<Listener> listen_on(const std::vector<Address>& addresses, const sluice::LogHook& log);

// Whether one could listen there now: nothing, or a remark if it is in use (by a sluiced that runs, perhaps). Throws
// StartError as listening would. Listens nowhere and leaves nothing behind.
[[nodiscard]] std::string try_address(const Address& address);

}  // namespace sluiced::http
