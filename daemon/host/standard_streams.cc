// System calls on plain descriptors: fmt::print throws if it cannot write, and stdio keeps what it could not write.
#include "host/standard_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>

namespace sluiced::host {

namespace {

// A write to a pipe without a reader raises SIGPIPE, which ends a process that has no handler yet. Blocks SIGPIPE while
// it lives and then removes the one that was raised meanwhile, but not one that was pending before.
class NoSigpipe {
 public:
  NoSigpipe() noexcept {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    if (!was_pending_) {
      const timespec at_once{};
      while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

// `wait`: milliseconds that each write may wait; -1: for ever.
bool write_all(int fd, std::string_view text, int wait) noexcept {
  const NoSigpipe guard;
  while (!text.empty()) {
    pollfd room{fd, POLLOUT, 0};
    const int ready = ::poll(&room, 1, wait);
    if (ready == 0) return false;
    // A pipe that poll() reports as writable takes PIPE_BUF bytes; more could block in write(2).
    const ssize_t n = ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) return false;
  }
  return true;
}

}  // namespace

void open_standard_streams() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // All lower numbers are in use, so open() returns this one.
    const int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", flags) < 0)
      static_cast<void>(::open("/", O_PATH));  // without /dev: only occupies the number
  }
}

void complain(std::initializer_list<std::string_view> parts) noexcept {
  constexpr int kPatience = 1000;
  std::array<char, PIPE_BUF> line{};
  std::size_t size = 0;
  for (const std::string_view part : parts) {
    const std::size_t n = std::min(part.size(), line.size() - 1 - size);
    std::copy_n(part.begin(), n, line.begin() + static_cast<std::ptrdiff_t>(size));
    size += n;
  }
  line[size++] = '\n';
  static_cast<void>(write_all(STDERR_FILENO, {line.data(), size}, kPatience));
}

bool print(std::string_view text) noexcept { return write_all(STDOUT_FILENO, text, -1); }

}  // namespace sluiced::host
