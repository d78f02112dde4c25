// How one message becomes one line of the log. Pure, any thread; a message is data, never format: line breaks and other
// control characters are written out, so nobody can forge a line or drive a terminal.
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

// Of a whole line with its end; a longer message is cut and ends in "...". Not above PIPE_BUF, 4096: so a line goes
// into a pipe at once or not at all.
inline constexpr std::size_t kMaxLine = 2048;

// The line, with its line end; valid UTF-8 whatever the message holds.
[[nodiscard]] std::string make_line(Format format, sluice::LogLevel level, std::chrono::system_clock::time_point time,
                                    std::string_view message);

// Format::journal if `fd` is the stream that systemd's JOURNAL_STREAM ("DEVICE:INODE", may be null) speaks of, else
// text.
[[nodiscard]] Format format_for(int fd, const char* journal_stream) noexcept;

}  // namespace sluiced::log
