// How many files and sockets this process may have open, and how they are shared out: clients who hold as many
// connections as they can must not cost the journal its next segment, nor the operator a look at /status. Called by
// main, before other threads.
#pragma once

#include <cstddef>

namespace sluiced::host {

// Each a limit for the lowest free descriptor: who finds it there, or above, opens no more.
struct Descriptors {
  std::size_t all;         // that the system allows
  std::size_t for_intake;  // less what journal, sinks and admin may need
  std::size_t for_admin;   // less what journal and sinks may need
};

// Raises the soft limit to the hard one, if it may.
[[nodiscard]] Descriptors raise_descriptor_limit() noexcept;

}  // namespace sluiced::host
