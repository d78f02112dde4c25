// The only file that maps options to the fields of tracker, servers and log.
#include "settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "host/descriptor_limit.h"
#include "options/origin.h"
#include "sluice/error.h"
#include "sluice/host.h"

namespace sluiced {

static_assert(options::kMaxOrigin <= http::kMaxOrigin, "the intake cannot hold such an origin");

namespace {

http::Address address(std::string_view flag, const std::string& text) {
  try {
    return http::parse_address(text);
  } catch (const sluice::StartError& error) {
    throw sluice::StartError(error.kind(), fmt::format("{} {}: {}", flag, text, error.what()));
  }
}

}  // namespace

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

std::vector<http::Address> intake_addresses(const options::Options& options) {
  std::vector<http::Address> addresses;
  for (const std::string& text : options.listen) {
    http::Address& made = addresses.emplace_back(address("--listen", text));
    made.mode = options.socket_mode;
    made.group = options.socket_group;
  }
  return addresses;
}

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

log::Format log_format(const options::Options& options) {
  if (options.log_format == options::LogFormat::json) return log::Format::json;
  return log::format_for(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
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

http::Config intake_config(const options::Options& options, const log::Log& log) {
  return {.listen = intake_addresses(options),
          .pages = {},
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
}

http::Config admin_config(const options::Options& options, const log::Log& log) {
  return {.listen = admin_addresses(options),
          .pages = {},
          .thread_name = "admin",
          .max_connections = 64,  // a few people and programs
          .max_descriptors = options.admin_descriptors,
          .idle_timeout = options.idle_timeout,
          .allowed_origins = options.allow_origin,
          .checks_host = true,
          .allowed_hosts = options.allow_host,
          .log = log.hook()};
}

}  // namespace sluiced
