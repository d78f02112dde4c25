// For commands that can stop between two steps: the first SIGINT, SIGTERM or SIGHUP requests it, a second one ends the
// process. For sluicectl, one thread; sluiced has stop_signals.h.
#pragma once

namespace sluiced::host {

// From here the first of these signals is only recorded, unless it is ignored already (nohup).
void catch_interrupts() noexcept;

[[nodiscard]] bool interrupted() noexcept;

}  // namespace sluiced::host
