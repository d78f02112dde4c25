// The running daemon: its parts, built in the order in which a start may fail, serving once constructed. Belongs to the
// main thread. The intake is opened last: a failed start must not have acknowledged anything.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>

#include "host/service_manager.h"
#include "host/stop_signals.h"
#include "http/server.h"
#include "log/log.h"
#include "options/options.h"
#include "pages.h"
#include "sluice/tracker.h"

namespace sluiced {

class Parts {
 public:
  // The arguments outlive it. Throws sluice::StartError, or what a sink throws; then no event was acknowledged.
  Parts(const options::Options& options, log::Log& log, host::StopSignals& signals, host::ServiceManager& manager);
  // Only once stop() has drained the tracker: else what it must leave behind is logged.
  ~Parts() = default;
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  // Waits for a signal, at most so long. Answers SIGHUP and signals without a meaning by a log line. Returns how many
  // stop signals have come so far (2: two or more).
  [[nodiscard]] std::size_t wait_signals(std::chrono::nanoseconds at_most);

  [[nodiscard]] const options::Options& options() const noexcept { return options_; }
  [[nodiscard]] log::Log& log() noexcept { return log_; }
  [[nodiscard]] host::StopSignals& signals() noexcept { return signals_; }
  [[nodiscard]] host::ServiceManager& manager() noexcept { return manager_; }
  [[nodiscard]] sluice::Tracker& tracker() noexcept { return tracker_; }
  [[nodiscard]] http::Server& intake() noexcept { return *intake_; }
  // STATE/last-exit.json; nothing without a state directory.
  [[nodiscard]] const std::optional<std::filesystem::path>& last_exit() const noexcept { return last_exit_; }

 private:
  // While it lives, the signal handlers read this tracker.
  class Watch {
   public:
    Watch(host::StopSignals& signals, const sluice::Tracker& tracker) noexcept : signals_(signals) {
      signals_.watch(&tracker);
    }
    ~Watch() { signals_.watch(nullptr); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    host::StopSignals& signals_;
  };

  void warn_of_files();
  void begin_last_exit();
  void open_admin();
  void open_intake();
  void warn_of_open_addresses(const http::Server& server);
  void announce_ready();

  const options::Options& options_;
  log::Log& log_;
  host::StopSignals& signals_;
  host::ServiceManager& manager_;
  std::size_t reopens_ = 0;  // SIGHUPs that were answered
  // Destroyed in reverse: the admin server serves to the very end, and its pages read the intake.
  sluice::Tracker tracker_;
  Watch watch_;
  std::optional<std::filesystem::path> last_exit_;
  Pages pages_;
  std::unique_ptr<http::Server> intake_;
  std::unique_ptr<http::Server> admin_;  // null with --admin none
};

}  // namespace sluiced
