// The socket of one client: non-blocking reads and writes, what the kernel still holds of both directions, and the end.
// One thread, its connection's. It never waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sluiced::http {

// What a read found.
struct Received {
  enum class State : std::uint8_t {
    some,
    nothing_yet,
    ended,   // the client sends no more
    broken,  // the connection is gone
  };
  State state = State::nothing_yet;
  std::size_t size = 0;
};

class ClientSocket {
 public:
  ClientSocket(int fd, bool tcp) noexcept : fd_(fd), tcp_(tcp) {}
  ~ClientSocket() { close(); }
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;

  [[nodiscard]] Received try_receive(std::span<char> room) noexcept;
  // How many bytes the kernel took; -1: the connection is gone.
  [[nodiscard]] std::ptrdiff_t try_send(std::string_view bytes) noexcept;
  void end_writing() noexcept;
  void close() noexcept;  // idempotent

  [[nodiscard]] std::size_t unread() const noexcept;       // bytes that the kernel has for us
  [[nodiscard]] std::size_t unconfirmed() const noexcept;  // bytes sent that the client's kernel has not confirmed

  [[nodiscard]] bool tcp() const noexcept { return tcp_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;  // -1: closed
  const bool tcp_;
};

}  // namespace sluiced::http
