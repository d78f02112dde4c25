// The limit of open files, sockets and pipes of this process. Called once, by main, before any other thread.
#pragma once

#include <cstddef>

namespace sluiced::host {

// Raises the limit as far as the system allows and returns it. The low default of shells and systemd is for programs
// that call select(), which this one does not.
[[nodiscard]] std::size_t raise_descriptor_limit() noexcept;

}  // namespace sluiced::host
