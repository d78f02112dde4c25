// The start, as one list: the constructor. What may fail comes before the intake.
#include "parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <string>
#include <system_error>

#include "check_config.h"
#include "host/final_report.h"
#include "http/listener.h"
#include "settings.h"
#include "sluice/sinks.h"
#include "sluice/sqlite.h"
#include "sluice/version.h"

namespace sluiced {

using sluice::LogLevel;

Parts::Parts(const options::Options& options, log::Log& log, host::StopSignals& signals, host::ServiceManager& manager)
    : options_(options),
      log_(log),
      signals_(signals),
      manager_(manager),
      tracker_(tracker_options(options, log), sluice::sqlite::sinks_for(options.sink)),
      watch_(signals, tracker_),
      pages_(tracker_, options, signals, log) {
  warn_of_files();
  begin_last_exit();
  open_admin();
  open_intake();
  announce_ready();
}

// After the tracker is built: its files exist by now, and a disk that does not answer has held up the tracker instead.
void Parts::warn_of_files() {
  if (const std::string remark = remark_on_files(options_); !remark.empty()) log_.write(LogLevel::warn, remark);
}

void Parts::begin_last_exit() {
  if (!options_.state_dir) return;
  last_exit_ = *options_.state_dir / "last-exit.json";
  const std::string draft = last_exit_->string() + ".draft";
  if (const int error = host::write_running(last_exit_->c_str(), draft.c_str()); error != 0) {
    log_.write(LogLevel::warn, fmt::format("the report file cannot be written file={} reason=\"{}\"",
                                           last_exit_->string(), std::generic_category().message(error)));
  }
}

void Parts::open_admin() {
  http::Config config = admin_config(options_, log_);
  if (config.listen.empty()) return;
  config.pages = pages_.for_admin();
  config.actions = pages_.actions();
  admin_ = std::make_unique<http::Server>(std::move(config));
  warn_of_open_addresses(*admin_);
}

void Parts::open_intake() {
  http::Config config = intake_config(options_, log_);
  config.pages = pages_.for_intake();
  config.submit = [this](auto events, const auto& receipt) { return tracker_.track(events, receipt); };
  intake_ = std::make_unique<http::Server>(std::move(config));
  warn_of_open_addresses(*intake_);
}

// There is no TLS and no token yet: an address that other machines reach serves all of them.
void Parts::warn_of_open_addresses(const http::Server& server) {
  for (const std::string& address : server.addresses()) {
    if (!http::is_open_to_others(address)) continue;
    log_.write(LogLevel::warn,
               fmt::format("listen on {}: open to other machines, all of which are served; for this one alone: "
                           "127.0.0.1:PORT or unix:PATH; for some: a firewall, or a proxy that asks",
                           address));
  }
}

void Parts::announce_ready() {
  signals_.owe_report(last_exit_);
  pages_.intake_is_open(*intake_);
  const std::string listen = fmt::format("{}", fmt::join(intake_->addresses(), ","));
  const std::string admin =
      admin_ && !admin_->addresses().empty() ? fmt::format("{}", fmt::join(admin_->addresses(), ",")) : "none";
  log_.write(LogLevel::info, fmt::format("ready run={} listen={} admin={} workers={} sink={} version={} pid={}",
                                         run_text(tracker_), listen, admin, options_.workers,
                                         sluice::redacted(options_.sink), sluice::version(), ::getpid()));
  manager_.ready(fmt::format("listening at {}", fmt::join(intake_->addresses(), ", ")));
}

std::size_t Parts::wait_signals(std::chrono::nanoseconds at_most) {
  const auto heard = signals_.wait(at_most);
  for (const std::string& name : signals_.take_strays()) {
    log_.write(LogLevel::warn, fmt::format("{} came and is ignored, it means nothing here", name));
  }
  if (heard.reopens > reopens_) {
    // File sinks check their path before each batch anyway; the line confirms the signal.
    log_.write(LogLevel::info, "SIGHUP: sinks reopen moved files before the next batch");
  }
  reopens_ = heard.reopens;
  return heard.stops;
}

}  // namespace sluiced
