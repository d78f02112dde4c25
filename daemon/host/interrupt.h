// A command that may be interrupted between two steps: SIGINT, SIGTERM or SIGHUP asks it to stop after the step at
// hand; a second one ends the process. For sluicectl; sluiced has stop_signals.h.
#pragma once

namespace sluiced::host {

// From here the first of these signals is only remembered, where it is not ignored already (nohup).
void catch_interrupts() noexcept;

[[nodiscard]] bool interrupted() noexcept;

}  // namespace sluiced::host
