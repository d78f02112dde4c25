// Async-signal-safe throughout: poll, open, write, rename.
#include "host/final_report.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "sluice/host.h"

namespace sluiced::host {

namespace {

constexpr std::size_t kMaxReport = 512;  // less than PIPE_BUF: after poll(), a write of it does not block

int replace_file(const char* path, const char* draft, std::string_view text) noexcept {
  const int fd = ::open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  int error = 0;
  while (!text.empty() && error == 0) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(draft, path) != 0) error = errno;
  return error;
}

}  // namespace

int exit_code(const sluice::Books& books, bool disk_failed, bool timed_out) noexcept {
  if (books.lost > 0) return 4;
  if (disk_failed) return 74;
  return timed_out ? 3 : 0;
}

bool write_last_line(sluice::Reason reason, const sluice::Books& books, std::chrono::nanoseconds elapsed,
                     std::chrono::milliseconds at_most) noexcept {
  std::array<char, kMaxReport> line{};
  std::size_t size = sluice::write_report(line.data(), line.size() - 1, reason, books, elapsed);
  line[size++] = '\n';
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  int ready = 0;
  do {
    ready = ::poll(&out, 1, static_cast<int>(at_most.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0 || (out.revents & POLLOUT) == 0) return false;
  return ::write(STDERR_FILENO, line.data(), size) == static_cast<ssize_t>(size);
}

int write_last_exit(const char* path, const char* draft, sluice::Reason reason, const sluice::Books& books,
                    std::chrono::nanoseconds elapsed) noexcept {
  std::array<char, kMaxReport> text{};
  std::size_t size = sluice::write_report_json(text.data(), text.size() - 1, reason, books, elapsed);
  text[size++] = '\n';
  return replace_file(path, draft, {text.data(), size});
}

int write_running(const char* path, const char* draft) noexcept {
  return replace_file(path, draft, "{\"reason\":\"running\"}\n");
}

}  // namespace sluiced::host
