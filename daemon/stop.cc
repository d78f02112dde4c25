// The stop list. Each step is a function below it; the numbers are those of the list.
#include "stop.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>

#include "host/final_report.h"

namespace sluiced {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using sluice::Happening;
using sluice::LogLevel;

// How much later than the deadline systemd should lose its patience: the backstop's margin, rounded up well.
constexpr auto kPatience = 2s;
constexpr auto kProgress = 500ms;
// For the last log lines, and again for the report, on a stderr that is slow. With the 10 ms that the tracker leaves to
// sinks that heed their stop token it is over well before the backstop, 60 ms behind the deadline.
constexpr auto kLastWords = 10ms;

double seconds(std::chrono::nanoseconds d) { return std::chrono::duration<double>(d).count(); }

class Stop {
 public:
  explicit Stop(Running& running) : running_(running), reopens_(running.reopens_heard) {}

  Stopped run() {
    announce();
    let_others_see();
    close_intake();
    drain();
    return report();
  }

 private:
  // 1 Readiness is red with the phase; systemd gets to know how long this may take.
  void announce() {
    static_cast<void>(running_.life.on(Happening::term));
    const auto left = deadline() - Clock::now();
    running_.manager.stopping(left + kPatience);
    const sluice::Status status = running_.tracker.status();
    running_.log.write(LogLevel::info, fmt::format("closing queued={} deadline={:.3f}s", status.queue_events,
                                                   std::max(0.0, seconds(left))));
  }

  //   Load balancers get --unready-delay to see it; requests are served meanwhile.
  void let_others_see() {
    closing_at_ = running_.signals.first_signal();
    if (running_.unready_delay <= 0ns) return;
    const auto over = closing_at_ + running_.unready_delay;
    hear(0ms);
    while (!hastened_ && Clock::now() < over) hear(over - Clock::now());
    closing_at_ = std::min(over, Clock::now());
  }

  // 2 No new requests; those in hand get a fifth of the time, and whoever has no answer by then has to do without. The
  //   tracker's least time is not cut into: where it begins earlier, as after a second signal, the intake ends beside
  //   it.
  void close_intake() {
    const auto reading = [&] { return closing_at_ + (deadline() - closing_at_) / 5; };
    // An answer that is given at the very end of the fifth still has to get out.
    const auto given_up = [&] { return reading() + 20ms; };
    running_.intake.drain(reading(), [&signals = running_.signals] { signals.wake(); });
    while (!intake_closed()) {
      const auto now = Clock::now();
      const auto least = sluice::Host(running_.tracker).least_drain();
      if (now >= given_up()) {
        // Who has not read them, or not sent all of his request, or waits for a disk that does not answer.
        const http::Counters http = running_.intake.counters();
        running_.log.write(LogLevel::warn, fmt::format("clients given up, their answers are not out answers={} "
                                                       "with_committer={}",
                                                       http.answers_owed, http.with_committer));
        running_.intake.give_up();
        break;
      }
      if (now >= deadline() - least) break;
      hear(std::min(given_up(), deadline() - least) - now);
    }
    hear(0ms);  // what the tracker is to know before its stop begins
    static_cast<void>(running_.life.on(Happening::door_closed));
  }

  // 3 to 6 The tracker closes its door, drains and accounts; meanwhile we listen, and say how far it is.
  void drain() {
    std::atomic<bool> done{false};
    const auto shut_down = [&] {
      report_ = running_.tracker.shutdown(deadline());
      done.store(true);
      running_.signals.wake();
    };
    std::jthread drainer;
    try {
      drainer = std::jthread(shut_down);
    } catch (const std::system_error&) {
      shut_down();  // no thread to be had: no progress lines, the rest is as ever
    }
    delivered_ = running_.tracker.books().delivered;
    auto next = Clock::now() + kProgress;
    while (!done.load()) {
      hear(std::max<Clock::duration>(0ms, next - Clock::now()));
      if (done.load() || Clock::now() < next) continue;
      say_progress();
      next += kProgress;
    }
    static_cast<void>(running_.life.on(report_.drained() ? Happening::drained : Happening::deadline));
    if (!report_.drained()) return;
    // Until here quiet clients might have spoken, and been told to go elsewhere. And the last answers, where the intake
    // has ended beside it.
    running_.intake.close_quiet();
    static_cast<void>(running_.intake.wait_drained(std::min(deadline(), Clock::now() + 20ms)));
  }

  // 7 The account, to whoever wants to hear it; the line on stderr is the last one there.
  Stopped report() {
    const sluice::Books& books = report_.books;
    const int code = host::exit_code(books, report_.disk_failed, !report_.drained());
    host::decide_exit(code);
    const auto elapsed = Clock::now() - running_.signals.first_signal();
    running_.manager.status(fmt::format("stopped, {}: {} delivered, {} dead, {} kept, {} lost",
                                        to_string(report_.reason), books.delivered, books.dead, books.kept,
                                        books.lost));
    running_.log.close(last_words());
    if (host::claim_report()) {
      // The line first, the file next; a stderr that takes nothing is waited for last, a little.
      const auto write_line = [&](std::chrono::nanoseconds at_most) {
        return host::write_last_line(report_.reason, books, elapsed,
                                     std::chrono::ceil<std::chrono::milliseconds>(at_most));
      };
      const bool written = write_line(0ms);
      if (running_.last_exit) {
        const std::string draft = running_.last_exit->string() + ".draft";
        static_cast<void>(
            host::write_last_exit(running_.last_exit->c_str(), draft.c_str(), report_.reason, books, elapsed));
      }
      if (!written) static_cast<void>(write_line(last_words()));
    }
    static_cast<void>(running_.life.on(Happening::reported));
    return {.code = code, .left_behind = !report_.drained()};
  }

  [[nodiscard]] bool intake_closed() { return running_.intake.wait_drained(Clock::time_point::min()); }

  [[nodiscard]] Clock::time_point deadline() const noexcept { return running_.signals.deadline(); }

  // What is left of the time, a little more at its end, for writing to who may not take it; not more than half a
  // second.
  [[nodiscard]] std::chrono::nanoseconds last_words() const noexcept {
    return std::clamp<std::chrono::nanoseconds>(deadline() - Clock::now(), kLastWords, 500ms);
  }

  // Waits for something new and acts on it.
  void hear(std::chrono::nanoseconds at_most) {
    const auto heard = running_.signals.wait(at_most);
    running_.name_strays();
    if (heard.reopens > reopens_) {
      reopens_ = heard.reopens;
      if (running_.life.on(Happening::hup) == sluice::Response::reopen) running_.reopen();
    }
    if (heard.stops > 1 && !hastened_) {
      hastened_ = true;  // further ones change nothing
      if (running_.life.on(Happening::second_term) == sluice::Response::hasten) {
        sluice::Host(running_.tracker).hasten(deadline());
        running_.log.write(LogLevel::warn, fmt::format("second signal, hurrying deadline={:.3f}s",
                                                       std::max(0.0, seconds(deadline() - Clock::now()))));
      }
    }
  }

  void say_progress() {
    const sluice::Status status = running_.tracker.status();
    const double rate = static_cast<double>(status.books.delivered - delivered_) / seconds(kProgress);
    delivered_ = status.books.delivered;
    const auto left = std::max<std::chrono::nanoseconds>(0ms, deadline() - Clock::now());
    running_.log.write(LogLevel::info, fmt::format("draining left={} in_flight={} rate={:.0f}/s time_left={:.1f}s",
                                                   status.queue_events, status.in_flight, rate, seconds(left)));
    running_.manager.status(fmt::format("draining: {} left, {:.0f} a second, at most {:.1f} s more",
                                        status.queue_events, rate, seconds(left)),
                            left + kPatience);
  }

  Running& running_;
  std::size_t reopens_;             // heard so far
  Clock::time_point closing_at_{};  // when the time for the drain begins
  sluice::Report report_;
  std::uint64_t delivered_ = 0;  // as of the last progress line
  bool hastened_ = false;
};

}  // namespace

Stopped stop(Running& running) { return Stop(running).run(); }

}  // namespace sluiced
