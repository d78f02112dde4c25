// sluiced: options -> wire -> READY -> wait for a signal -> the stop (stop.cc) -> exit code. No logic of its own.
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "admin/metrics.h"
#include "admin/pages.h"
#include "check_config.h"
#include "host/descriptor_limit.h"
#include "host/final_report.h"
#include "host/service_manager.h"
#include "host/standard_streams.h"
#include "host/stop_signals.h"
#include "http/listener.h"
#include "http/server.h"
#include "log/log.h"
#include "options/options.h"
#include "options/origin.h"
#include "sluice/host.h"
#include "sluice/sinks.h"
#include "sluice/sqlite.h"
#include "sluice/tracker.h"
#include "sluice/version.h"
#include "stop.h"

namespace sluiced {
namespace {

using sluice::LogLevel;
using sluice::StartError;

options::Environment environment() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  return {.state_directory = variable("STATE_DIRECTORY"),
          .xdg_state_home = variable("XDG_STATE_HOME"),
          .home = variable("HOME"),
          .cpus = sluice::usable_cpus(),
          .descriptors = host::raise_descriptor_limit(),
          .runtime_directory = variable("RUNTIME_DIRECTORY")};
}

static_assert(options::kMostOfOrigin <= http::kMaxOrigin, "the intake has no room for such an origin");

int exit_code(StartError::Kind kind) {
  switch (kind) {
    case StartError::Kind::usage:
      return 64;
    case StartError::Kind::in_use:
      return 69;
    case StartError::Kind::unavailable:
      // A service manager starts us again until it is there; whoever starts us by hand has named what is not here.
      return std::getenv("NOTIFY_SOCKET") != nullptr ? 69 : 78;
    case StartError::Kind::io:
      return 74;
    case StartError::Kind::unusable:
      return 78;
  }
  return 70;
}

// The command line is answered with a text: what was asked for, or what is wrong.
int say_and_exit(const options::Exit& exit) {
  if (!exit.on_stderr) {
    if (host::print(exit.text)) return exit.code;
    host::complain({"sluiced: standard output cannot be written"});
    return 74;
  }
  std::string_view text = exit.text;
  if (text.ends_with('\n')) text.remove_suffix(1);
  host::complain({text});
  return exit.code;
}

// What is wrong with an address, said with the flag that it was given to.
http::Address address(std::string_view flag, const std::string& text) {
  try {
    return http::parse_address(text);
  } catch (const StartError& error) {
    throw StartError(error.kind(), fmt::format("{} {}: {}", flag, text, error.what()));
  }
}

std::vector<http::Address> intake_addresses(const options::Options& options) {
  std::vector<http::Address> addresses;
  for (const std::string& text : options.listen) {
    http::Address& made = addresses.emplace_back(address("--listen", text));
    made.mode = options.socket_mode;
    made.group = options.socket_group;
  }
  return addresses;
}

// The addresses of --admin, and the default unix socket if --admin names none: the actions need one.
std::vector<http::Address> admin_addresses(const options::Options& options) {
  std::vector<http::Address> addresses;
  for (const std::string& text : options.admin) addresses.push_back(address("--admin", text));
  if (!options.admin_socket.empty()) {
    http::Address& usual = addresses.emplace_back();
    usual.path = options.admin_socket;
    usual.optional = true;
  }
  return addresses;
}

std::string run_text(const sluice::Tracker& tracker) {
  const std::string id = to_string(sluice::EventId{tracker.run(), 0});
  return id.substr(0, id.rfind('-'));
}

sluice::Options tracker_options(const options::Options& options, const log::Log& log) {
  sluice::Options to;
  to.workers = options.workers;
  to.queue_events = options.queue_events;
  to.queue_bytes = options.window_bytes();
  to.max_event_bytes = options.max_event_bytes;
  to.ack = options.ack;
  to.overflow = options.overflow;
  to.state_dir = options.state_dir;
  to.journal_bytes = options.journal_bytes;
  to.batch_events = options.batch_events;
  to.batch_linger = options.batch_linger;
  to.retry_min = options.retry_min;
  to.retry_max = options.retry_max;
  to.retry_limit = options.retry_limit;
  to.log = log.hook();
  return to;
}

// What is to be done when a scope ends, however it ends.
class AtEnd {
 public:
  explicit AtEnd(std::function<void()> what) : what_(std::move(what)) {}
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;
  ~AtEnd() { what_(); }

 private:
  std::function<void()> what_;
};

// Health and readiness, on every listener; the status on the admin address alone.
http::Pages health_pages(const Life& life, const sluice::Tracker& tracker) {
  http::Pages pages;
  pages["/healthz"] = [] { return http::Page{200, "text/plain", admin::healthz_body()}; };
  pages["/readyz"] = [&life, &tracker] {
    const sluice::Phase phase = life.phase();
    const bool running = phase == sluice::Phase::running;
    const bool ready = running && !sluice::Host(tracker).disk_failed();
    return http::Page{ready ? 200 : 503, "text/plain",
                      admin::readyz_body(ready, running ? "the disk has failed" : to_string(phase))};
  };
  return pages;
}

// There is no TLS and no token yet: an address that other machines reach serves all of them, so the log says so.
void name_open_doors(log::Log& log, const http::Server& server) {
  for (const std::string& address : server.addresses()) {
    if (!http::is_open_to_others(address)) continue;
    log.write(LogLevel::warn,
              fmt::format("listen on {}: open to other machines, all of which are served; for this one alone: "
                          "127.0.0.1:PORT or unix:PATH; for some: a firewall, or a proxy that asks",
                          address));
  }
}

// What /metrics says besides the tracker's numbers. `server`: the intake, once it is there.
admin::Edge edge(const Life& life, const host::StopSignals& signals, const http::Server* server) {
  admin::Edge edge;
  const http::Counters http = server != nullptr ? server->counters() : http::Counters();
  for (std::size_t why = 0; why < http.refused.size(); ++why) {
    edge.refused.emplace(to_string(static_cast<http::Refused>(why)), http.refused[why]);
  }
  if (life.phase() > sluice::Phase::running) edge.drain_left = signals.deadline() - host::StopSignals::Clock::now();
  return edge;
}

// POST /dead-letter/requeue and /dead-letter/drop.
http::Actions dead_letter_actions(sluice::Tracker& tracker, log::Log& log) {
  using Move = sluice::DeadLettersMoved (sluice::Host::*)(std::size_t) const;
  const auto action = [&tracker, &log](std::string_view name, Move move) {
    return [&tracker, &log, name, move](std::string_view target) {
      const auto limit = admin::limit_in(target);
      if (!limit) return http::Page{400, "text/plain", "allowed: ?limit=N\n"};
      const sluice::DeadLettersMoved moved = (sluice::Host(tracker).*move)(*limit);
      log.write(moved.error.empty() ? LogLevel::info : LogLevel::warn,
                fmt::format("dead letters {}={} left={}{}{}", name, moved.moved, moved.left,
                            moved.error.empty() ? "" : " error=", moved.error));
      if (moved.damaged > 0) {
        log.write(LogLevel::warn, fmt::format("lines that are no dead letters were set aside lines={} first={} in={}",
                                              moved.damaged, moved.first_damaged, "dead-letter.damaged"));
      }
      return http::Page{moved.error.empty() ? 200 : 503, "application/json", admin::moved_json(name, moved)};
    };
  };
  return {{"/dead-letter/requeue", action("requeued", &sluice::Host::requeue_dead_letters)},
          {"/dead-letter/drop", action("dropped", &sluice::Host::drop_dead_letters)}};
}

// Says why there is no start, in one line; the exit code.
int refuse(const StartError& error) {
  host::complain({"sluiced: ", error.what()});
  return exit_code(error.kind());
}

int check(const options::Options& options) {
  std::vector<FlagAddress> addresses;
  for (const http::Address& listen : intake_addresses(options)) addresses.push_back({"--listen", listen});
  for (const http::Address& admin : admin_addresses(options)) {
    if (!admin.optional) addresses.push_back({"--admin", admin});
  }
  for (const std::string& remark : check_config(options, addresses)) host::complain({"sluiced: ", remark});
  return 0;
}

int serve(const options::Options& options, host::StopSignals& signals, host::ServiceManager& manager) {
  Life life;
  const log::Format format = options.log_format == options::LogFormat::json
                                 ? log::Format::json
                                 : log::format_for(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
  log::Log log(STDERR_FILENO, format, options.log_level);
  if (!options.remark.empty()) log.write(LogLevel::warn, options.remark);

  const std::vector<http::Address> listen = intake_addresses(options);
  const std::vector<http::Address> admin_listen = admin_addresses(options);

  sluice::Tracker tracker(tracker_options(options, log), sluice::sqlite::sinks_for(options.sink));
  signals.watch(&tracker);
  // Behind the tracker: its files are there by now, and if that disk does not answer, it was the one who waited.
  if (const std::string remark = remark_on_files(options); !remark.empty()) log.write(LogLevel::warn, remark);
  const AtEnd forget([&signals] { signals.watch(nullptr); });  // also if the start fails further down

  std::optional<std::filesystem::path> last_exit;
  if (options.state_dir) {
    last_exit = *options.state_dir / "last-exit.json";
    const std::string draft = last_exit->string() + ".draft";
    if (const int error = host::write_running(last_exit->c_str(), draft.c_str()); error != 0) {
      log.write(LogLevel::warn,
                fmt::format("write {}: {}", last_exit->string(), std::generic_category().message(error)));
    }
  }

  const auto started = std::chrono::system_clock::now();
  const auto began = std::chrono::steady_clock::now();
  http::Config admin_config{.listen = admin_listen,
                            .pages = health_pages(life, tracker),
                            .thread_name = "admin",
                            .max_connections = 64,  // a few people and programs
                            .max_descriptors = options.admin_descriptors,
                            .idle_timeout = options.idle_timeout,
                            .allowed_origins = options.allow_origin,
                            .checks_host = true,
                            .allowed_hosts = options.allow_host,
                            .log = log.hook()};
  std::atomic<const http::Server*> shown{nullptr};
  admin_config.pages["/status"] = [&] {
    const http::Server* const server = shown.load();
    const http::Counters http = server != nullptr ? server->counters() : http::Counters();
    const bool ready = life.phase() == sluice::Phase::running && !sluice::Host(tracker).disk_failed();
    sluice::Status status = tracker.status();
    status.phase = std::max(status.phase, life.phase());  // the intake closes before the tracker does
    if (life.phase() == sluice::Phase::starting) status.phase = sluice::Phase::starting;
    return http::Page{200, "application/json",
                      admin::status_json(status, {.version = std::string(sluice::version()),
                                                  .run = run_text(tracker),
                                                  .ready = ready,
                                                  .started = started,
                                                  .uptime = std::chrono::steady_clock::now() - began,
                                                  .events_limit = options.queue_events,
                                                  .bytes_limit = options.window_bytes(),
                                                  .journal_limit = options.journal_bytes,
                                                  .connections = http.connections,
                                                  .answers_owed = http.answers_owed,
                                                  .answered = http.answered})};
  };
  admin_config.pages["/metrics"] = [&] {
    return http::Page{200, std::string(admin::kMetricsType),
                      admin::metrics_text(sluice::Host(tracker).metrics(), edge(life, signals, shown.load()))};
  };
  admin_config.actions = dead_letter_actions(tracker, log);
  std::optional<http::Server> admin_server;
  if (!admin_listen.empty()) admin_server.emplace(std::move(admin_config));
  if (admin_server) name_open_doors(log, *admin_server);

  // The last step that may fail: an event that is acknowledged by a start that then fails would have nobody to drain
  // it.
  const auto submit = [&tracker](auto events, const auto& receipt) { return tracker.track(events, receipt); };
  http::Config intake_config{.listen = listen,
                             .pages = health_pages(life, tracker),
                             .submit = submit,
                             .thread_name = "intake",
                             .threads = options.io_threads,
                             .max_event_bytes = options.max_event_bytes,
                             .max_request_bytes = options.max_request_bytes,
                             .receive_bytes = options.receive_bytes(),
                             .max_connections = options.max_connections,
                             .max_connections_per_client = options.max_connections_per_client,
                             .max_descriptors = options.intake_descriptors,
                             .request_timeout = options.request_timeout,
                             .idle_timeout = options.idle_timeout,
                             .allowed_origins = options.allow_origin,
                             .log = log.hook()};
  http::Server intake(std::move(intake_config));
  name_open_doors(log, intake);

  shown.store(&intake);
  const AtEnd hide([&admin_server] { admin_server.reset(); });  // serves to the very end, and is gone before the intake

  signals.owe_report(last_exit);
  static_cast<void>(life.on(sluice::Happening::ready));
  log.write(LogLevel::info,
            fmt::format("ready run={} listen={} admin={} workers={} sink={} version={} pid={}", run_text(tracker),
                        fmt::join(intake.addresses(), ","),
                        admin_server && !admin_server->addresses().empty()
                            ? fmt::format("{}", fmt::join(admin_server->addresses(), ","))
                            : "none",
                        options.workers, sluice::redacted(options.sink), sluice::version(), ::getpid()));
  manager.ready(fmt::format("listening at {}", fmt::join(intake.addresses(), ", ")));

  const auto reopen = [&log] {
    // File sinks look at their path before each batch anyway; this is for who wants to see that the signal arrived.
    log.write(LogLevel::info, "hup, files that were moved are opened anew before the next batch");
  };
  const auto name_strays = [&signals, &log] {
    for (const std::string& name : signals.take_strays()) {
      log.write(LogLevel::warn, fmt::format("{} came and is ignored, it means nothing here", name));
    }
  };
  std::size_t reopens = 0;
  for (;;) {
    const auto heard = signals.wait(std::chrono::hours{1});
    name_strays();
    if (heard.reopens > reopens && life.on(sluice::Happening::hup) == sluice::Response::reopen) reopen();
    reopens = heard.reopens;
    if (heard.stops > 0) break;
  }

  Running running{.life = life,
                  .signals = signals,
                  .manager = manager,
                  .log = log,
                  .tracker = tracker,
                  .intake = intake,
                  .last_exit = last_exit,
                  .reopen = reopen,
                  .reopens_heard = reopens,
                  .name_strays = name_strays,
                  .unready_delay = options.unready_delay};
  const Stopped stopped = stop(running);
  if (stopped.left_behind) ::_exit(stopped.code);
  return stopped.code;
}

int run(const options::Options& options) {
  host::StopSignals signals(options.unready_delay + options.drain_timeout);
  host::ServiceManager manager;
  try {
    return serve(options, signals, manager);
  } catch (const StartError& error) {
    const int code = refuse(error);
    const bool final = error.kind() == StartError::Kind::usage || error.kind() == StartError::Kind::unusable;
    // By now all is closed and free for others. A stop ends the wait, also one that was asked for during the start.
    if (!final) static_cast<void>(signals.wait(manager.start_failed(error.what())));
    return code;
  }
}

}  // namespace
}  // namespace sluiced

int main(int argc, char** argv) {
  sluiced::host::open_standard_streams();  // before anything of ours gets a descriptor
  try {
    const std::vector<const char*> args(argv + std::min(1, argc), argv + argc);
    auto parsed = sluiced::options::parse(args, sluiced::environment());
    if (const auto* const exit = std::get_if<sluiced::options::Exit>(&parsed)) {
      return sluiced::say_and_exit(*exit);
    }
    const auto& options = std::get<sluiced::options::Options>(parsed);
    if (options.check_config) return sluiced::check(options);
    return sluiced::run(options);
  } catch (const sluice::StartError& error) {
    return sluiced::refuse(error);
  } catch (const std::exception& error) {
    sluiced::host::complain({"sluiced: ", error.what()});
    return 70;
  }
}
