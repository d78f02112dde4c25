// A listening socket, TCP or unix, from bind to the file's removal. Created on the thread that starts the server, used
// by the one that accepts. It refuses an address that is in use (StartError in_use), does not exist yet (unavailable)
// or cannot be listened on (unusable); a unix socket that a dead process left is taken over.
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
  // Takes over a TCP socket that listens.
  explicit Listener(int fd);
  // Binds a unix socket, and gives its file the group and mode of `address` before any client can connect. `bound` is
  // called between the two, for tests that inspect the file.
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
  int lock_fd_ = -1;  // of PATH.lock, held while the path is ours, see lock_path()
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

// A listener for each endpoint, all on one port: for port 0 the kernel chooses it for the first, and again if it is in
// use on another. An IPv6 loopback or a family that this machine lacks is skipped with a warning, unless no endpoint is
// left. [::] takes IPv4 as net.ipv6.bindv6only says, but not if 0.0.0.0 gets the same port. `name`: the operator's
// text. `bound` is called after the first bind, for a test that takes the port of the next.
[[nodiscard]] std::vector<Listener> listen_on(std::vector<Endpoint> endpoints, const std::string& name,
                                              const sluice::LogHook& log, bool ipv6_alone = false,
                                              const std::function<void(std::uint16_t port)>& bound = {});

// Whether other machines may reach an address, by its name as bound.
[[nodiscard]] bool is_open_to_others(std::string_view name) noexcept;

// Listeners for all of these, in their order.
[[nodiscard]] std::vector<Listener> listen_on(const std::vector<Address>& addresses, const sluice::LogHook& log);

// Checks whether one could listen there now. Returns nothing, or a remark if the address is in use (perhaps by a
// running sluiced). Throws StartError as listening would. Does not listen, and leaves nothing behind.
[[nodiscard]] std::string try_address(const Address& address);

}  // namespace sluiced::http
