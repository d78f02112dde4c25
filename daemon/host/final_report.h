// The last words: the report line on stderr, the same in STATE/last-exit.json, and the exit code. All may be called in
// a signal handler and never allocate; the line never blocks, the file blocks as long as its disk does.
#pragma once

#include <chrono>

#include "sluice/report.h"

namespace sluiced::host {

// 0, 3, 4 or 74: how a stop went. What is lost outweighs a failed disk, and that a deadline.
[[nodiscard]] int exit_code(const sluice::Books& books, bool disk_failed, bool timed_out) noexcept;

// Writes the line and its end to stderr, in one piece, if stderr takes it within this time: a full pipe would hold a
// plain write for ever. True if it was written.
[[nodiscard]] bool write_last_line(sluice::Reason reason, const sluice::Books& books, std::chrono::nanoseconds elapsed,
                                   std::chrono::milliseconds at_most) noexcept;

// Writes the file by way of a draft beside it, so that a reader sees the old one or the new one whole. 0, or errno.
[[nodiscard]] int write_last_exit(const char* path, const char* draft, sluice::Reason reason,
                                  const sluice::Books& books, std::chrono::nanoseconds elapsed) noexcept;

// The same file while the process runs: {"reason":"running"}. Whoever finds it there finds a crash, or a start that
// failed.
[[nodiscard]] int write_running(const char* path, const char* draft) noexcept;

}  // namespace sluiced::host
