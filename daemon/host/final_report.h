// The report: its line on stderr, the same in STATE/last-exit.json, and the exit code. All functions are
// async-signal-safe. The line never blocks; the file blocks as long as its disk does.
#pragma once

#include <chrono>

#include "sluice/report.h"

namespace sluiced::host {

// The exit code of a stop: 4 if events are lost, else 74 if the disk failed, else 3 past the deadline, else 0.
[[nodiscard]] int exit_code(const sluice::Books& books, bool disk_failed, bool timed_out) noexcept;

// Writes the line with its line feed to stderr, in one write, if stderr is writable within this time: a plain write to
// a full pipe would block for ever. True if it was written.
[[nodiscard]] bool write_last_line(sluice::Reason reason, const sluice::Books& books, std::chrono::nanoseconds elapsed,
                                   std::chrono::milliseconds at_most) noexcept;

// Writes a draft beside the file and renames it, so that a reader sees the old file or the new one. 0, or errno.
[[nodiscard]] int write_last_exit(const char* path, const char* draft, sluice::Reason reason,
                                  const sluice::Books& books, std::chrono::nanoseconds elapsed) noexcept;

// Writes {"reason":"running"} to the same file. Found after the process has ended, it means a crash or a failed start.
[[nodiscard]] int write_running(const char* path, const char* draft) noexcept;

}  // namespace sluiced::host
