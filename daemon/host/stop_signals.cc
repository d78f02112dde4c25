// All that handlers touch is here: lock-free atomics, and calls that POSIX allows in a handler (signal-safety(7)).
#include "host/stop_signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "host/final_report.h"
#include "sluice/tracker.h"

namespace sluiced::host {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Behind the deadline the main loop has this long to count and report before the backstop does; then the backstop's own
// writing has the second time. Together less than the 100 ms that a stop may be late.
constexpr nanoseconds kBackstopMargin = milliseconds{60};
constexpr nanoseconds kLastMargin = milliseconds{20};
// What a stop gets while there is no tracker to ask; see Tracker::least_drain().
constexpr nanoseconds kLeastDrain = milliseconds{100};
constexpr std::int64_t kNever = INT64_MAX;

std::atomic<int> wake_fd{-1};
std::atomic<std::size_t> stops{0};
std::atomic<std::size_t> reopens{0};
std::atomic<std::int64_t> drain_timeout_ns{0};
std::atomic<std::int64_t> first_signal_ns{kNever};
std::atomic<std::int64_t> deadline_ns{kNever};  // only comes nearer
std::atomic<const sluice::Tracker*> tracker{nullptr};
std::atomic<bool> report_owed{false};
std::atomic<bool> report_claimed{false};
std::atomic<int> decided_code{-1};
std::atomic<bool> backstop_ran{false};
timer_t backstop_timer{};                      // constant once made, before the handlers are
std::array<char, PATH_MAX> last_exit_path{};   // constant once report_owed
std::array<char, PATH_MAX> last_exit_draft{};  // likewise

static_assert(std::atomic<std::int64_t>::is_always_lock_free &&
              std::atomic<const sluice::Tracker*>::is_always_lock_free);

std::int64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // what steady_clock reads
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void arm(std::int64_t at_ns) noexcept {
  itimerspec when{};
  when.it_value.tv_sec = at_ns / 1'000'000'000;
  when.it_value.tv_nsec = at_ns % 1'000'000'000;
  ::timer_settime(backstop_timer, TIMER_ABSTIME, &when, nullptr);
}

void ring() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_fd.load(), &one, sizeof one);
}

std::int64_t least_drain_ns() noexcept {
  const sluice::Tracker* const watched = tracker.load();
  return (watched != nullptr ? watched->least_drain() : kLeastDrain).count();
}

void on_stop(int /*signal*/) {
  const int saved = errno;
  const std::int64_t now = now_ns();
  const std::size_t earlier = stops.fetch_add(1);
  if (earlier < 2) {
    std::int64_t end = now + least_drain_ns();
    if (earlier == 0) {
      first_signal_ns.store(now);
      end = std::max(end, now + drain_timeout_ns.load());
    }
    std::int64_t old = deadline_ns.load();
    while (end < old && !deadline_ns.compare_exchange_weak(old, end)) {
    }
    arm(deadline_ns.load() + kBackstopMargin.count());
  }
  ring();
  errno = saved;
}

void on_reopen(int /*signal*/) {
  const int saved = errno;
  reopens.fetch_add(1);
  ring();
  errno = saved;
}

// The report by hand: the main loop has not come to it in time.
void report_from_handler() noexcept {
  sluice::Books books;
  if (const sluice::Tracker* const watched = tracker.load(); watched != nullptr) books = watched->books_at_exit();
  if (decided_code.load() < 0) decided_code.store(books.lost > 0 ? 4 : 3);
  if (!report_owed.load()) return;
  const nanoseconds elapsed{now_ns() - first_signal_ns.load()};
  static_cast<void>(write_last_line(sluice::Reason::backstop, books, elapsed, milliseconds{0}));
  // The disk last: it may be what holds everything up.
  if (last_exit_path[0] != '\0') {
    static_cast<void>(
        write_last_exit(last_exit_path.data(), last_exit_draft.data(), sluice::Reason::backstop, books, elapsed));
  }
}

void on_backstop(int /*signal*/) {
  // The second time its own writing was too slow: nothing is left to do.
  if (!backstop_ran.exchange(true)) {
    arm(now_ns() + kLastMargin.count());
    if (claim_report()) report_from_handler();
  }
  const int code = decided_code.load();
  ::_exit(code < 0 ? 3 : code);
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (::sigaction(signal, &action, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "sigaction");
  }
}

}  // namespace

StopSignals::StopSignals(nanoseconds drain_timeout) : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  wake_fd.store(wake_fd_);
  drain_timeout_ns.store(drain_timeout.count());

  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  if (::timer_create(CLOCK_MONOTONIC, &event, &backstop_timer) != 0) {
    throw std::system_error(errno, std::generic_category(), "timer_create");
  }
  // The backstop may interrupt itself: its second signal is what ends a first that hangs.
  handle(SIGRTMIN, on_backstop, SA_RESTART | SA_NODEFER);
  handle(SIGTERM, on_stop, SA_RESTART);
  handle(SIGINT, on_stop, SA_RESTART);
  handle(SIGHUP, on_reopen, SA_RESTART);
  handle(SIGPIPE, SIG_IGN, 0);  // a reader that leaves is an error of that write
  handle(SIGXFSZ, SIG_IGN, 0);  // and so is a limit on the size of files
  // Whatever mask we were started with.
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : {SIGRTMIN, SIGTERM, SIGINT, SIGHUP}) sigaddset(&ours, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
}

StopSignals::~StopSignals() {
  // The handlers stay: a late signal finds nothing to do, and an armed backstop still guards what is left of the exit.
  watch(nullptr);
  wake_fd.store(-1);
  ::close(wake_fd_);
}

void StopSignals::watch(const sluice::Tracker* watched) noexcept { tracker.store(watched); }

void StopSignals::owe_report(const std::optional<std::filesystem::path>& last_exit) {
  if (last_exit) {
    std::snprintf(last_exit_path.data(), last_exit_path.size(), "%s", last_exit->c_str());
    std::snprintf(last_exit_draft.data(), last_exit_draft.size(), "%s.backstop", last_exit->c_str());
  }
  report_owed.store(true);
}

StopSignals::Heard StopSignals::wait(nanoseconds at_most) noexcept {
  pollfd wanted{wake_fd_, POLLIN, 0};
  const auto ms = std::chrono::ceil<milliseconds>(at_most).count();
  if (::poll(&wanted, 1, static_cast<int>(std::clamp<std::int64_t>(ms, 0, INT_MAX))) > 0) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(wake_fd_, &count, sizeof count);
  }
  return {stops.load(), reopens.load()};
}

void StopSignals::wake() noexcept { ring(); }

StopSignals::Clock::time_point StopSignals::first_signal() const noexcept {
  return Clock::time_point(nanoseconds(first_signal_ns.load()));
}

StopSignals::Clock::time_point StopSignals::deadline() const noexcept {
  return Clock::time_point(nanoseconds(deadline_ns.load()));
}

bool claim_report() noexcept { return !report_claimed.exchange(true); }

void decide_exit(int code) noexcept { decided_code.store(code); }

}  // namespace sluiced::host
