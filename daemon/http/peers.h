// Counts the connections of each client, by its IPv4 address, or its IPv6 network of 64 bits, since one client has all
// of its addresses. Synchronises itself. It refuses and never waits. Unix sockets have no addresses, and are not
// counted.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>

namespace sluiced::http {

using Peer = std::array<unsigned char, 8>;

// The address at the other end of a socket; nothing if it is not an IP socket.
[[nodiscard]] std::optional<Peer> peer_of(int socket) noexcept;

class Peers {
 public:
  explicit Peers(std::size_t limit) noexcept : limit_(limit) {}  // 0: no limit, nothing is counted

  [[nodiscard]] bool counts() const noexcept { return limit_ != 0; }
  // False: the peer is at its limit.
  [[nodiscard]] bool try_add(const Peer& peer);
  void remove(const Peer& peer) noexcept;

 private:
  const std::size_t limit_;
  std::mutex mutex_;
  std::map<Peer, std::size_t> connections_;  // guarded by mutex_; never 0
};

}  // namespace sluiced::http
