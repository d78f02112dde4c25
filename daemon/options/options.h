// The command line of sluiced: every flag as a typed value, checked, or the one line that says what is wrong.
// Plain values and one pure function: it reads no environment, no file and no address; called once, by main.
// It refuses: unknown flags, leftover words, values out of their range (exit code 64, whatever else is given), and what
// is well formed but of no use here (78). A flag given twice is refused as well, but for lists: that of two
// contradicting values in a SLUICED_OPTS that has grown one is silently dropped would be found out at the wrong time.
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

// The defaults stand here; `listen`, `workers`, `sink` and `state_dir` get theirs from parse(), which knows the
// environment.
struct Options {
  std::vector<std::string> listen;  // never empty after parse(); main has the HTTP room check them
  std::vector<std::string> admin;   // empty after parse(): `none`
  // Where the actions are served if no --admin names a unix socket: a path, which a start can do without. Empty:
  // nowhere.
  std::string admin_socket;
  std::vector<std::string> allow_origin;  // in lower case
  std::vector<std::string> allow_host;
  unsigned socket_mode = 0666;  // of --listen's unix sockets; with a group: 0660
  std::string socket_group;     // theirs; empty: the process's own
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
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds{75};  // longer than the pools of proxies keep theirs
  sluice::LogLevel log_level = sluice::LogLevel::info;
  LogFormat log_format = LogFormat::text;
  bool check_config = false;
  // A connection is accepted while a descriptor below these is free: those above are for journal and sinks.
  std::size_t intake_descriptors = std::numeric_limits<std::size_t>::max();
  std::size_t admin_descriptors = std::numeric_limits<std::size_t>::max();
  std::string remark;  // what is not as it was asked for, in one line for the log; mostly nothing

  // How --queue-bytes is divided: a quarter for what is being received, the rest for what has been admitted.
  [[nodiscard]] std::size_t receive_bytes() const noexcept { return queue_bytes / 4; }
  [[nodiscard]] std::size_t window_bytes() const noexcept { return queue_bytes - receive_bytes(); }
};

// What parse() needs to know of the world. An empty string is a variable that is not set.
struct Environment {
  std::string state_directory;  // STATE_DIRECTORY: systemd's, several are separated by ':'
  std::string xdg_state_home;   // XDG_STATE_HOME
  std::string home;             // HOME
  std::size_t cpus = 1;         // that this process may use
  std::size_t descriptors = std::numeric_limits<std::size_t>::max();  // that it may have open
  std::string runtime_directory = {};                                 // RUNTIME_DIRECTORY: systemd's
};

// There is nothing to run: the process ends with this code after writing the text, which has its line end.
struct Exit {
  int code = 0;
  std::string text;
  bool on_stderr = true;
};

// `args` are those of main without the program's name.
[[nodiscard]] std::variant<Options, Exit> parse(std::span<const char* const> args, const Environment& environment);

}  // namespace sluiced::options
