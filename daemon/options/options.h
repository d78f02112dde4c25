// The command line of sluiced: every flag as a checked, typed value, or one line with the error. Plain values and one
// pure function: it reads no environment, file or address; main calls it once. It refuses unknown flags, words that
// belong to no flag and values out of range (exit code 64, with precedence), and valid values that cannot work on this
// host (78). It also refuses a flag that is given twice, except for lists: in a long SLUICED_OPTS one of two
// contradicting values would be dropped silently.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "sluice/options.h"

namespace sluiced::options {

enum class LogFormat : std::uint8_t { text, json };

// The defaults stand here, except those of `listen`, `workers`, `sink` and `state_dir`, which depend on the
// environment: see parse().
struct Options {
  std::vector<std::string> listen;  // never empty after parse(); checked by settings.h
  std::vector<std::string> admin;   // empty after parse(): `none`
  // The path of the default unix socket for actions, if --admin names none; a start succeeds without it. Empty: no
  // socket.
  std::string admin_socket;
  std::vector<std::string> allow_origin;  // in lower case
  std::vector<std::string> allow_host;
  unsigned socket_mode = 0666;  // of the unix sockets in `listen`; with a group: 0660
  std::string socket_group;     // their group; empty: the process's
  std::string sink;             // a URL that sluice::complaint_about() has nothing against
  std::size_t workers = 1;
  std::size_t io_threads = 1;
  std::size_t queue_events = 65536;
  std::size_t queue_bytes = std::size_t{64} << 20U;
  sluice::Overflow overflow = sluice::Overflow::disk;  // without a state directory: reject
  sluice::Ack ack = sluice::Ack::synced;               // without a state directory: queued
  std::optional<std::filesystem::path> state_dir;      // nothing: `none`
  std::uint64_t journal_bytes = std::uint64_t{1} << 30U;
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds{5};
  std::chrono::nanoseconds unready_delay{0};  // before it
  std::size_t batch_events = 512;
  std::chrono::nanoseconds batch_linger{0};
  std::chrono::nanoseconds retry_min = std::chrono::milliseconds{100};
  std::chrono::nanoseconds retry_max = std::chrono::seconds{30};
  std::size_t retry_limit = 0;  // 0: for ever
  std::size_t max_event_bytes = 256U << 10U;
  std::size_t max_request_bytes = std::size_t{8} << 20U;  // after parse(): not more than receive_bytes()
  std::size_t max_connections = 1024;
  std::size_t max_connections_per_client = 0;  // 0: no limit
  std::chrono::nanoseconds request_timeout = std::chrono::seconds{10};
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds{75};  // longer than proxies keep idle connections
  sluice::LogLevel log_level = sluice::LogLevel::info;
  LogFormat log_format = LogFormat::text;
  bool check_config = false;
  // Connections are accepted while a descriptor below these is free; those above are for journal and sinks.
  std::size_t intake_descriptors = std::numeric_limits<std::size_t>::max();
  std::size_t admin_descriptors = std::numeric_limits<std::size_t>::max();
  std::string remark;  // a line for the log about a value that cannot be met; mostly empty

  // A quarter of --queue-bytes is for requests being received, the rest for admitted events.
  [[nodiscard]] std::size_t receive_bytes() const noexcept { return queue_bytes / 4; }
  [[nodiscard]] std::size_t window_bytes() const noexcept { return queue_bytes - receive_bytes(); }
};

// The environment of parse(). An empty string: the variable is not set.
struct Environment {
  std::string state_directory;  // STATE_DIRECTORY, set by systemd; several are separated by ':'
  std::string xdg_state_home;   // XDG_STATE_HOME
  std::string home;             // HOME
  std::size_t cpus = 1;         // usable by this process
  std::size_t descriptors = std::numeric_limits<std::size_t>::max();  // limit of open ones
  std::string runtime_directory = {};                                 // RUNTIME_DIRECTORY, set by systemd
};

// Nothing to run: the process prints the text, which ends with a line feed, and exits with this code.
struct Exit {
  int code = 0;
  std::string text;
  bool on_stderr = true;
};

// `args`: main's arguments without the program's name.
[[nodiscard]] std::variant<Options, Exit> parse(std::span<const char* const> args, const Environment& environment);

}  // namespace sluiced::options
