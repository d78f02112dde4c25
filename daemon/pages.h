// The pages and actions of the listeners: values of the tracker and the intake, in the texts of the admin room. Called
// on the threads of both servers. Readiness is computed here and nowhere else. Each answer is a snapshot; no page
// waits.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>

#include "host/stop_signals.h"
#include "http/server.h"
#include "log/log.h"
#include "options/options.h"
#include "sluice/host.h"
#include "sluice/phase.h"
#include "sluice/tracker.h"

namespace sluiced {

struct Readiness {
  bool ready = false;
  std::string_view reason;  // why not
};

class Pages {
 public:
  // All of them outlive it, and it outlives the servers that have its pages.
  Pages(sluice::Tracker& tracker, const options::Options& options, const host::StopSignals& signals, log::Log& log)
      : tracker_(tracker), options_(options), signals_(signals), log_(log) {}

  // From here the daemon is no longer starting, and the pages count the intake's connections.
  void intake_is_open(const http::Server& intake) noexcept { intake_.store(&intake); }

  [[nodiscard]] Readiness readiness() const noexcept;

  [[nodiscard]] http::Pages for_intake() const;  // /healthz, /readyz
  [[nodiscard]] http::Pages for_admin() const;   // those, /status and /metrics
  [[nodiscard]] http::Actions actions() const;   // on dead letters

 private:
  [[nodiscard]] sluice::Phase phase() const noexcept;
  [[nodiscard]] http::Counters intake_counters() const;
  [[nodiscard]] http::Page readyz() const;
  [[nodiscard]] http::Page status() const;
  [[nodiscard]] http::Page metrics() const;
  using Move = sluice::DeadLettersMoved (sluice::Host::*)(std::size_t) const;
  [[nodiscard]] http::Page move(std::string_view name, Move how, std::string_view target) const;

  sluice::Tracker& tracker_;
  const options::Options& options_;
  const host::StopSignals& signals_;
  log::Log& log_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::atomic<const http::Server*> intake_{nullptr};
};

// The RunId of the tracker, as in an event's id.
[[nodiscard]] std::string run_text(const sluice::Tracker& tracker);

}  // namespace sluiced
