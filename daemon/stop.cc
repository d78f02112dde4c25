// The steps of the stop list in stop.h, a function each.
#include "stop.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>

#include "host/final_report.h"
#include "sluice/host.h"

namespace sluiced {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using sluice::LogLevel;

// systemd's time-out comes this much after the deadline: the backstop's margin and more.
constexpr auto kPatience = 2s;
constexpr auto kProgress = 500ms;
// For the last log lines, and again for the report, on a stderr that is slow. Together with the 10 ms that the tracker
// leaves to sinks that obey their stop token, it is over well before the backstop, 60 ms after the deadline.
constexpr auto kLastWords = 10ms;

double seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

class Stop {
 public:
  explicit Stop(Parts& parts) : parts_(parts) {}

  Stopped run() {
    announce();
    wait_unready();
    close_intake();
    drain();
    return report();
  }

 private:
  // 1. Announce: readiness turns red and systemd learns how long the stop may take.
  void announce() {
    sluice::Host(parts_.tracker()).announce_stop();
    const auto left = deadline() - Clock::now();
    parts_.manager().stopping(left + kPatience);
    const sluice::Status status = parts_.tracker().status();
    parts_.log().write(LogLevel::info, fmt::format("closing queued={} deadline={:.3f}s", status.queue_events,
                                                   std::max(0.0, seconds(left))));
  }

  // 1. Announce: --unready-delay passes while requests are still served, so that load balancers notice.
  void wait_unready() {
    closing_at_ = parts_.signals().first_signal();
    const auto delay = parts_.options().unready_delay;
    if (delay <= 0ns) return;
    const auto over = closing_at_ + delay;
    hear(0ms);
    while (!hastened_ && Clock::now() < over) hear(over - Clock::now());
    closing_at_ = std::min(over, Clock::now());
  }

  // 2. Close the intake: no new connections; requests in hand get a fifth of the time, new requests are answered 503.
  //    The tracker's shortest drain is not cut: if it has to begin before the fifth is over, as after a second signal,
  //    the intake ends during it.
  void close_intake() {
    const auto reading = [&] { return closing_at_ + (deadline() - closing_at_) / 5; };
    // An answer given at the very end of the fifth still has to be sent.
    const auto given_up = [&] { return reading() + 20ms; };
    parts_.intake().drain(reading(), [&signals = parts_.signals()] { signals.wake(); });
    while (!intake_closed()) {
      const auto now = Clock::now();
      const auto least = sluice::Host(parts_.tracker()).least_drain();
      if (now >= given_up()) {
        give_up_clients();
        break;
      }
      if (now >= deadline() - least) break;
      hear(std::min(given_up(), deadline() - least) - now);
    }
    hear(0ms);  // a second signal must reach the tracker before its stop begins
  }

  // Clients that have not read their answers, have not sent the whole request, or wait for a disk that does not answer.
  void give_up_clients() {
    const http::Counters http = parts_.intake().counters();
    parts_.log().write(LogLevel::warn,
                       fmt::format("clients given up, their answers are not out answers={} with_committer={}",
                                   http.answers_owed, http.with_committer));
    parts_.intake().give_up();
  }

  // Steps 3 to 7 run in Tracker::shutdown(), on a thread of its own; this one waits for signals and logs the progress.
  void drain() {
    std::atomic<bool> done{false};
    const auto shut_down = [&] {
      report_ = parts_.tracker().shutdown(deadline());
      done.store(true);
      parts_.signals().wake();
    };
    std::jthread drainer;
    try {
      drainer = std::jthread(shut_down);
    } catch (const std::system_error&) {
      shut_down();  // the system has no thread left: no progress lines, all else is the same
    }
    delivered_ = parts_.tracker().books().delivered;
    auto next = Clock::now() + kProgress;
    while (!done.load()) {
      hear(std::max<Clock::duration>(0ms, next - Clock::now()));
      if (done.load() || Clock::now() < next) continue;
      log_progress();
      next += kProgress;
    }
    if (!report_.drained()) return;
    // Until here a quiet client could send a request and get its 503. The last answers may still be on their way, if
    // the intake ended during the drain.
    parts_.intake().close_quiet();
    static_cast<void>(parts_.intake().wait_drained(std::min(deadline(), Clock::now() + 20ms)));
  }

  // 8. Report: exit code, STATE/last-exit.json, and the last line on stderr.
  Stopped report() {
    const sluice::Books& books = report_.books;
    const int code = host::exit_code(books, report_.disk_failed, !report_.drained());
    host::decide_exit(code);
    const auto elapsed = Clock::now() - parts_.signals().first_signal();
    parts_.manager().status(fmt::format("stopped, {}: {} delivered, {} dead, {} kept, {} lost",
                                        to_string(report_.reason), books.delivered, books.dead, books.kept,
                                        books.lost));
    parts_.log().close(last_words());
    if (host::claim_report()) write_report(elapsed);
    return {.code = code, .left_behind = !report_.drained()};
  }

  // The line first, then the file; then, if stderr did not take the line, wait a little for it.
  void write_report(std::chrono::nanoseconds elapsed) {
    const auto write_line = [&](std::chrono::nanoseconds at_most) {
      return host::write_last_line(report_.reason, report_.books, elapsed,
                                   std::chrono::ceil<std::chrono::milliseconds>(at_most));
    };
    const bool written = write_line(0ms);
    if (const auto& file = parts_.last_exit()) {
      const std::string draft = file->string() + ".draft";
      static_cast<void>(host::write_last_exit(file->c_str(), draft.c_str(), report_.reason, report_.books, elapsed));
    }
    if (!written) static_cast<void>(write_line(last_words()));
  }

  [[nodiscard]] bool intake_closed() { return parts_.intake().wait_drained(Clock::time_point::min()); }

  [[nodiscard]] Clock::time_point deadline() const noexcept { return parts_.signals().deadline(); }

  // How long to wait for a reader that may never come: the time left, at least kLastWords, at most half a second.
  [[nodiscard]] std::chrono::nanoseconds last_words() const noexcept {
    return std::clamp<std::chrono::nanoseconds>(deadline() - Clock::now(), kLastWords, 500ms);
  }

  // Waits for a signal and acts on it. Stop signals after the second change nothing.
  void hear(std::chrono::nanoseconds at_most) {
    if (parts_.wait_signals(at_most) < 2 || hastened_) return;
    hastened_ = true;
    sluice::Host(parts_.tracker()).hasten(deadline());
    parts_.log().write(LogLevel::warn, fmt::format("second signal, hurrying deadline={:.3f}s",
                                                   std::max(0.0, seconds(deadline() - Clock::now()))));
  }

  void log_progress() {
    const sluice::Status status = parts_.tracker().status();
    const double rate = static_cast<double>(status.books.delivered - delivered_) / seconds(kProgress);
    delivered_ = status.books.delivered;
    const auto left = std::max<std::chrono::nanoseconds>(0ms, deadline() - Clock::now());
    parts_.log().write(LogLevel::info, fmt::format("draining left={} in_flight={} rate={:.0f}/s time_left={:.1f}s",
                                                   status.queue_events, status.in_flight, rate, seconds(left)));
    parts_.manager().status(fmt::format("draining: {} left, {:.0f} a second, at most {:.1f} s more",
                                        status.queue_events, rate, seconds(left)),
                            left + kPatience);
  }

  Parts& parts_;
  Clock::time_point closing_at_{};  // when the time for the drain begins
  sluice::Report report_;
  std::uint64_t delivered_ = 0;  // as of the last progress line
  bool hastened_ = false;
};

}  // namespace

Stopped stop(Parts& parts) { return Stop(parts).run(); }

}  // namespace sluiced
