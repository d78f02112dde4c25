// The stop of sluiced, as one list. Runs on the main thread; knows the rooms that main has put together.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>

#include "host/service_manager.h"
#include "host/stop_signals.h"
#include "http/server.h"
#include "log/log.h"
#include "sluice/host.h"
#include "sluice/phase.h"
#include "sluice/tracker.h"

namespace sluiced {

// The process's phase: changed in on() and nowhere else, by the main thread; read by anybody.
class Life {
 public:
  [[nodiscard]] sluice::Phase phase() const noexcept { return phase_.load(); }
  sluice::Response on(sluice::Happening what) noexcept {
    const sluice::Step now = sluice::step(phase_.load(), what);
    phase_.store(now.next);
    return now.response;
  }

 private:
  std::atomic<sluice::Phase> phase_{sluice::Phase::starting};
};

// What is running, and has to be stopped. Refers to main's objects, which outlive the stop.
struct Running {
  Life& life;
  host::StopSignals& signals;
  host::ServiceManager& manager;
  log::Log& log;
  sluice::Tracker& tracker;
  http::Server& intake;
  std::optional<std::filesystem::path> last_exit;
  std::function<void()> reopen;       // what a HUP asks for
  std::size_t reopens_heard = 0;      // those that were answered before the stop
  std::function<void()> name_strays;  // logs signals that came and mean nothing
  std::chrono::nanoseconds unready_delay{0};
};

struct Stopped {
  int code = 0;              // of the process: how it went
  bool left_behind = false;  // a worker is stuck: the process has to exit under it
};

// To be called once a signal has asked for it. Gone by the deadline, or the backstop ends the process.
[[nodiscard]] Stopped stop(Running& running);

}  // namespace sluiced
