// Handlers use only the lock-free atomics of this file and async-signal-safe calls (signal-safety(7)).
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
#include "host/stop_times.h"
#include "sluice/host.h"
#include "sluice/tracker.h"

namespace sluiced::host {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// After the deadline the main loop has kBackstopMargin to count and report before the backstop does; the backstop then
// has kLastMargin to write. Together less than the 100 ms that a stop may be late.
constexpr nanoseconds kBackstopMargin = milliseconds{60};
constexpr nanoseconds kLastMargin = milliseconds{20};
// The shortest stop without a tracker; otherwise least_drain().
constexpr nanoseconds kLeastDrain = milliseconds{100};

std::atomic<int> wake_fd{-1};
StopTimes times;
std::atomic<std::size_t> reopens{0};
std::atomic<std::uint64_t> strays{0};       // received; one bit per signal: number 1 is bit 0
std::atomic<std::uint64_t> strays_told{0};  // returned by take_strays()
std::atomic<std::int64_t> drain_timeout_ns{0};
std::atomic<const sluice::Tracker*> tracker{nullptr};
std::atomic<bool> report_owed{false};
std::atomic<bool> report_claimed{false};
std::atomic<int> decided_code{-1};
std::atomic<bool> backstop_ran{false};
timer_t backstop_timer{};                      // constant before the handlers are installed
std::array<char, PATH_MAX> last_exit_path{};   // constant once report_owed
std::array<char, PATH_MAX> last_exit_draft{};  // constant once report_owed

static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              std::atomic<const sluice::Tracker*>::is_always_lock_free);

// Signals that have no meaning here but would end the process by default, as would the real-time ones.
constexpr std::array kStrays{SIGUSR1, SIGUSR2, SIGALRM, SIGPWR, SIGIO, SIGVTALRM, SIGPROF, SIGSTKFLT, SIGXCPU};

nanoseconds now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // what steady_clock reads
  return nanoseconds{std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
}

void arm(nanoseconds at) noexcept {
  itimerspec when{};
  when.it_value.tv_sec = at.count() / 1'000'000'000;
  when.it_value.tv_nsec = at.count() % 1'000'000'000;
  ::timer_settime(backstop_timer, TIMER_ABSTIME, &when, nullptr);
}

void ring() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_fd.load(), &one, sizeof one);
}

nanoseconds least_drain() noexcept {
  const sluice::Tracker* const watched = tracker.load();
  return watched != nullptr ? sluice::Host(*watched).least_drain() : kLeastDrain;
}

void on_stop(int /*signal*/) {
  const int saved = errno;
  times.ask(
      now(), least_drain(), nanoseconds{drain_timeout_ns.load()},
      [](nanoseconds deadline) { arm(sluice::sum(deadline, kBackstopMargin)); }, [](StopTimes::Instant) {});
  ring();
  errno = saved;
}

void on_reopen(int /*signal*/) {
  const int saved = errno;
  reopens.fetch_add(1);
  ring();
  errno = saved;
}

void on_stray(int signal) {
  const int saved = errno;
  const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(signal - 1);
  if ((strays.fetch_or(bit) & bit) == 0) ring();
  errno = saved;
}

// For signals that report the error of a system call, which returns it as well.
void on_known_error(int /*signal*/) {}

// The backstop's report: the main loop is too late for its own.
void report_from_handler() noexcept {
  sluice::Books books;
  bool disk_failed = false;
  if (const sluice::Tracker* const watched = tracker.load(); watched != nullptr) {
    books = sluice::Host(*watched).books_at_exit();
    disk_failed = sluice::Host(*watched).disk_failed();
  }
  if (decided_code.load() < 0) decided_code.store(exit_code(books, disk_failed, true));
  if (!report_owed.load()) return;
  const nanoseconds elapsed = now() - times.first().time_since_epoch();
  static_cast<void>(write_last_line(sluice::Reason::backstop, books, elapsed, milliseconds{0}));
  // The file last: the disk may be the cause of the delay.
  if (last_exit_path[0] != '\0') {
    static_cast<void>(
        write_last_exit(last_exit_path.data(), last_exit_draft.data(), sluice::Reason::backstop, books, elapsed));
  }
}

void on_backstop(int signal, siginfo_t* info, void* /*context*/) {
  if (info->si_code != SI_TIMER) return on_stray(signal);  // sent by kill(), not by the timer
  // A second call means that writing the report took too long: exit without it.
  if (!backstop_ran.exchange(true)) {
    arm(now() + kLastMargin);
    if (claim_report()) report_from_handler();
  }
  const int code = decided_code.load();
  ::_exit(code < 0 ? 3 : code);
}

void handle(int signal, struct sigaction action, sigset_t& ours) {
  sigemptyset(&action.sa_mask);
  if (::sigaction(signal, &action, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "sigaction");
  }
  sigaddset(&ours, signal);
}

void handle(int signal, void (*handler)(int), sigset_t& ours) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  handle(signal, action, ours);
}

std::string name_of(int signal) {
  if (const char* const name = ::sigabbrev_np(signal); name != nullptr) return std::string("SIG") + name;
  const int above = signal - SIGRTMIN;
  return above == 0 ? "SIGRTMIN" : "SIGRTMIN+" + std::to_string(above);
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
  sigset_t ours;
  sigemptyset(&ours);
  struct sigaction backstop {};
  backstop.sa_sigaction = on_backstop;
  // SA_NODEFER: the handler may interrupt itself, so that a second signal ends one that hangs.
  backstop.sa_flags = SA_RESTART | SA_NODEFER | SA_SIGINFO;
  handle(SIGRTMIN, backstop, ours);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT}) handle(signal, on_stop, ours);
  handle(SIGHUP, on_reopen, ours);
  for (const int signal : {SIGPIPE, SIGXFSZ}) handle(signal, on_known_error, ours);
  for (const int signal : kStrays) handle(signal, on_stray, ours);
  for (int signal = SIGRTMIN + 1; signal <= SIGRTMAX; ++signal) handle(signal, on_stray, ours);
  ::pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);  // the mask is inherited from the parent process
}

StopSignals::~StopSignals() {
  // The handlers stay installed: a late signal does nothing, and an armed backstop still guards the rest of the exit.
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
  return {times.stops(), reopens.load()};
}

void StopSignals::wake() noexcept { ring(); }

std::vector<std::string> StopSignals::take_strays() {
  std::vector<std::string> names;
  const std::uint64_t came = strays.load();
  const std::uint64_t news = came & ~strays_told.exchange(came);
  for (int signal = 1; signal <= 64; ++signal) {
    if ((news >> static_cast<unsigned>(signal - 1) & 1U) != 0) names.push_back(name_of(signal));
  }
  return names;
}

StopSignals::Clock::time_point StopSignals::first_signal() const noexcept { return times.first(); }

StopSignals::Clock::time_point StopSignals::deadline() const noexcept { return times.deadline(); }

bool claim_report() noexcept { return !report_claimed.exchange(true); }

void decide_exit(int code) noexcept { decided_code.store(code); }

}  // namespace sluiced::host
