// How many files, sockets and pipes this process may have open. Called once, by main, before any other thread.
#pragma once

#include <cstddef>

namespace sluiced::host {

// Raises the limit as far as the system lets us: the low one that a shell or systemd gives is for programs that still
// call select(), which we never do. What it is then.
[[nodiscard]] std::size_t raise_descriptor_limit() noexcept;

}  // namespace sluiced::host
