// Formats a message as one line of the log. A message is a phrase followed by key=value pairs; sluiced(8) has the
// shape. Pure functions, any thread. A message is data, never a format: line breaks and other control characters are
// escaped, so it cannot forge a line or control a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/options.h"

namespace sluiced::log {

enum class Format : std::uint8_t {
  text,     // 2025-01-31T23:59:59.123Z warn  message
  journal,  // <4>message                                    systemd adds the time and takes the priority off
  json,     // {"time":"2025-01-31T23:59:59.123Z","level":"warn","msg":"message"}
};

// Most bytes of a line with its line feed; a longer message is cut and ends in "...". At most PIPE_BUF (4096), so that
// a line is written into a pipe whole or not at all.
inline constexpr std::size_t kMaxLine = 2048;

// The line, with its line feed; valid UTF-8 whatever the message holds.
[[nodiscard]] std::string make_line(Format format, sluice::LogLevel level, std::chrono::system_clock::time_point time,
                                    std::string_view message);

// Format::journal if `fd` is the stream that systemd's JOURNAL_STREAM ("DEVICE:INODE", may be null) names, else text.
[[nodiscard]] Format format_for(int fd, const char* journal_stream) noexcept;

}  // namespace sluiced::log
