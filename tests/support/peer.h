// What the other end of a connection of ours has read, as the kernel tells it (sock_diag), whichever process holds it.
// For TCP over IPv4 on this machine. Any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace test {

// Waits until the other end's program has read all of the `sent` bytes that this socket has ever been given, or has
// closed its socket. False at the limit. Throws if the kernel does not tell.
[[nodiscard]] bool wait_peer_has_read(int socket, std::uint64_t sent, std::chrono::milliseconds limit);

// What the kernel holds for the other end to send, in bytes of its memory, and the most that it lets it have. Throws if
// the kernel does not tell, or there is no other end any more.
struct SendMemory {
  std::size_t held = 0, limit = 0;
};
[[nodiscard]] SendMemory peer_send_memory(int socket);

}  // namespace test
