// An IPv4 address is kept as the last eight bytes of its IPv4-mapped IPv6 address, so that both kinds of socket give
// the same peer. Threads: see the header.
#include "http/peers.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace sluiced::http {

std::optional<Peer> peer_of(int socket) noexcept {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  Peer peer{};
  if (address.ss_family == AF_INET) {
    const auto& number = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    peer[2] = peer[3] = 0xFF;
    std::memcpy(peer.data() + 4, &number, sizeof number);
    return peer;
  }
  if (address.ss_family != AF_INET6) return std::nullopt;
  const auto& number = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  const std::size_t from =
      IN6_IS_ADDR_V4MAPPED(&number) ? 8 : 0;  // a mapped IPv4 address has no network in its first half
  std::memcpy(peer.data(), number.s6_addr + from, peer.size());
  return peer;
}

bool Peers::try_add(const Peer& peer) {
  const std::lock_guard lock(mutex_);
  std::size_t& connections = connections_[peer];
  if (connections == limit_) return false;
  ++connections;
  return true;
}

void Peers::remove(const Peer& peer) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = connections_.find(peer);
  if (found != connections_.end() && --found->second == 0) connections_.erase(found);
}

}  // namespace sluiced::http
