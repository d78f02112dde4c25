// A listening socket, TCP or unix, from bind to the file's removal. Made on the thread that starts the server, used by
// the one that accepts. It refuses an address that is taken (StartError in_use) or cannot be had (unusable); a unix
// socket that a dead process left is taken over.
#pragma once

#include <cstddef>
#include <string>

#include "http/server.h"

namespace sluiced::http {

class Listener {
 public:
  explicit Listener(const Address& address);
  ~Listener() { close(); }
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
  void listen_tcp(const Address& address);
  void listen_unix(const Address& address);

  int fd_ = -1;
  std::string name_;
  std::string path_;              // of a unix socket
  unsigned long long inode_ = 0;  // of its file: another process may have put its own there
};

}  // namespace sluiced::http
