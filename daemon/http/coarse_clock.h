// The kernel's coarse clock: a few ms late, and nearly free. Good enough for time-outs. Any thread.
#pragma once

#include <chrono>
#include <ctime>

namespace sluiced::http {

[[nodiscard]] inline std::chrono::steady_clock::time_point coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::steady_clock::time_point(std::chrono::seconds{now.tv_sec} +
                                               std::chrono::nanoseconds{now.tv_nsec});
}

}  // namespace sluiced::http
