// See the header.
#include "ctl/progress.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluicectl {

std::string Progress::show(std::uint64_t done, std::uint64_t events, bool last, Clock::time_point now) {
  const auto pause = terminal_ ? std::chrono::milliseconds{100} : std::chrono::milliseconds{10'000};
  const bool due = now - shown_ >= pause || (terminal_ && (last || !is_drawn_));
  if (!due || (last && !terminal_)) return {};
  shown_ = now;
  is_drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - began_).count();
  const std::string speed =
      fmt::format("{} events, {:.0f} a second", events, static_cast<double>(events) / std::max(seconds, 0.001));
  const double part = whole_ > 0 ? static_cast<double>(std::min(done, whole_)) / static_cast<double>(whole_) : 0;
  const std::string percent = whole_ > 0 ? fmt::format("{}% ", static_cast<int>(part * 100)) : "";
  if (!terminal_) return fmt::format("sluicectl: {}{}\n", percent, speed);
  std::string bar;
  if (whole_ > 0) {
    constexpr std::size_t kWidth = 30;
    const auto full = static_cast<std::size_t>(part * kWidth);
    bar = fmt::format("[{}{}] ", std::string(full, '#'), std::string(kWidth - full, ' '));
  }
  return fmt::format("\r{}{}{}\033[K{}", bar, percent, speed, last ? "\n" : "");
}

}  // namespace sluicectl
