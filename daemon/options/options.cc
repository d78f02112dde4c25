// One table of flags: the parser, the checks and --help are made from it.
#include "options/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "flags/directories.h"
#include "flags/kinds.h"
#include "flags/words.h"
#include "options/origin.h"
#include "sluice/host.h"
#include "sluice/sinks.h"
#include "sluice/version.h"
#include "text/quantity.h"

namespace sluiced::options {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kKiB = std::size_t{1} << 10U;
constexpr std::size_t kGiB = std::size_t{1} << 30U;

using flags::Answer;
using flags::choice;
using flags::Complaint;
using flags::count;
using flags::duration;
using flags::kUnusable;
using flags::kUsage;
using flags::on_one_line;
using flags::shown;
using flags::size;
using flags::toggle;
using flags::with_fallback;
using flags::with_letter;
using flags::wrong;
using Flag = flags::Flag<Options>;
using Group = flags::Group<Options>;

Flag listen() {
  return {.name = "listen",
          .letter = 'l',
          .argument = "ADDR",
          .meaning = "HOST:PORT, [::1]:PORT, unix:PATH; repeatable",
          .fallback = "127.0.0.1:7070",
          .set =
              [](Options& options, std::string_view text) {
                if (text.empty()) return wrong("HOST:PORT, [::1]:PORT or unix:PATH");
                options.listen.emplace_back(text);
                return Answer{};
              },
          .repeatable = true};
}

Flag socket_mode() {
  return {.name = "socket-mode",
          .argument = "OCTAL",
          .meaning = "of unix:PATH: 0666 all users, 0660 the group",
          .fallback = "0666, or 0660",
          .set = [](Options& options, std::string_view text) {
            const bool octal = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '7'; });
            if (!octal || text.size() < 3 || text.size() > 4 || (text.size() == 4 && text.front() != '0')) {
              return wrong("three octal digits, perhaps behind a 0: 0600, 0660, 0666");
            }
            options.socket_mode = 0;
            for (const char digit : text)
              options.socket_mode = options.socket_mode * 8 + static_cast<unsigned>(digit - '0');
            return Answer{};
          }};
}

Flag socket_group() {
  return {.name = "socket-group",
          .argument = "NAME",
          .meaning = "of unix:PATH: the group that may send events",
          .fallback = {},
          .set = [](Options& options, std::string_view text) {
            if (text.empty()) return wrong("a group's name or number");
            options.socket_group = text;
            return Answer{};
          }};
}

constexpr std::string_view kNone = "none";

Flag admin() {
  return {.name = "admin",
          .letter = 'a',
          .argument = "ADDR",
          .meaning = "health, status, metrics; repeatable; or none",
          .fallback = "127.0.0.1:7071",
          .set =
              [](Options& options, std::string_view text) {
                if (text.empty()) return wrong("HOST:PORT, [::1]:PORT, unix:PATH or none");
                // `none` beside an address contradicts it.
                if (!options.admin.empty() && (text == kNone) != (options.admin.front() == kNone))
                  return wrong("none alone");
                options.admin.emplace_back(text);
                return Answer{};
              },
          .repeatable = true};
}

Flag allow_origin() {
  return {.name = "allow-origin",
          .argument = "ORIGIN",
          .meaning = "web pages that may send events; repeatable",
          .fallback = {},
          .set =
              [](Options& options, std::string_view text) {
                auto origin = parse_origin(text);
                if (!origin) return wrong("an origin as browsers send it: https://NAME or http://NAME:PORT");
                options.allow_origin.push_back(*std::move(origin));
                return Answer{};
              },
          .repeatable = true};
}

Flag allow_host() {
  return {.name = "allow-host",
          .argument = "NAME",
          .meaning = "an allowed Host name for --admin; repeatable",
          .fallback = {},
          .set =
              [](Options& options, std::string_view text) {
                auto name = parse_host_name(text);
                if (!name) return wrong("a host's name, without a port");
                options.allow_host.push_back(*std::move(name));
                return Answer{};
              },
          .repeatable = true};
}

// Why a sink refuses the URL, without the URL itself: the caller's line names it already.
std::optional<std::string> complaint_about_sink(std::string_view url) {
  std::optional<std::string> complaint = sluice::complaint_about(url);
  const std::string itself = fmt::format("sink {}: ", sluice::redacted(url));
  if (complaint && complaint->starts_with(itself)) complaint->erase(0, itself.size());
  return complaint;
}

Flag sink() {
  return {.name = "sink",
          .letter = 's',
          .argument = "URL",
          .meaning = "null: stdout: file:PATH or sqlite:PATH",
          .fallback = "sqlite:STATE/events.db",
          .set = [](Options& options, std::string_view text) {
            if (auto complaint = complaint_about_sink(text)) return wrong(*std::move(complaint));
            options.sink = text;
            return Answer{};
          }};
}

Flag state_dir() {
  return {.name = "state-dir",
          .letter = 'd',
          .argument = "DIR",
          .meaning = "STATE: journal, dead letters, lock; or none",
          .fallback = "see below",
          .set = [](Options& options, std::string_view text) {
            if (text.empty()) return wrong("a directory or none");
            options.state_dir.reset();
            if (text != "none") options.state_dir = text;
            return Answer{};
          }};
}

// Each range with its reason; ranges without one are the tracker's, see sluice/options.h.
std::vector<Group> table() {
  return {
      {"Intake",
       {
           listen(),
           socket_mode(),
           socket_group(),
           admin(),
           allow_host(),
           allow_origin(),
           // 64: one thread takes hundreds of thousands of events a second; more only contend for the queue.
           count("io-threads", "intake threads", &Options::io_threads, 1, 64),
           // 1 GiB: the JSON parser counts the bytes of a document in 32 bits.
           size("max-event-bytes", "size of an event; a larger one is answered 413", &Options::max_event_bytes, 1,
                kGiB),
           size("max-request-bytes", "size of a request; at most 1/4 of --queue-bytes", &Options::max_request_bytes, 1,
                kGiB),
           // A million: the kernel's own limit of descriptors for a process (fs.nr_open).
           count("max-connections", "clients at a time", &Options::max_connections, 1, 1'000'000),
           count("max-connections-per-client", "clients from one IP address; 0: no limit",
                 &Options::max_connections_per_client, 0, 1'000'000),
           // 10 ms: less would cut off clients that only wait for a CPU on a busy machine.
           duration("request-timeout", "longest time without progress of a request", &Options::request_timeout, 10ms,
                    24h),
           duration("idle-timeout", "longest time between requests", &Options::idle_timeout, 10ms, 24h),
       }},
      {"Memory",
       {
           // 2^30: slices and blocks count events in 32 bits.
           with_letter('q', count("queue-events", "most events in memory", &Options::queue_events, 1, kGiB)),
           // 64 KiB: a quarter of it must hold one read of a request's body. 1 TiB: sums of a few such values do not
           // overflow.
           size("queue-bytes", "most bytes of events in memory", &Options::queue_bytes, 64 * kKiB, 1024 * kGiB),
           choice<sluice::Overflow>("overflow", "when memory is full", &Options::overflow,
                                    {{"disk", sluice::Overflow::disk}, {"reject", sluice::Overflow::reject}}),
           choice<sluice::Ack>(
               "ack", "promise of an answer", &Options::ack,
               {{"queued", sluice::Ack::queued}, {"written", sluice::Ack::written}, {"synced", sluice::Ack::synced}}),
       }},
      {"Delivery",
       {
           sink(),
           // 1024: with more threads a machine mostly switches between them.
           with_fallback("usable CPUs",
                         with_letter('w', count("workers", "worker threads", &Options::workers, 1, 1024))),
           // 65536: a batch is taken and answered as a whole, also by a stop that waits for it.
           count("batch-events", "most events that a worker takes at once", &Options::batch_events, 1, 65536),
           // 1 min: a longer wait stores events instead of batching them.
           duration("batch-linger", "how long a worker waits for a fuller batch", &Options::batch_linger, 0ns, 1min),
           // 1 ms: a sink that fails at once must not be called in a busy loop. 24 h: longer than any outage without an
           // operator.
           duration("retry-min", "first wait before an event is tried again", &Options::retry_min, 1ms, 24h),
           duration("retry-max", "longest such wait", &Options::retry_max, 1ms, 24h),
           // Attempts are counted in 32 bits.
           count("retry-limit", "attempts before a dead letter; 0: no limit", &Options::retry_limit, 0, 0xFFFF'FFFF),
       }},
      {"Life",
       {
           state_dir(),
           // 1 MiB: eight segments of 128 KiB. 1 TiB: each segment of 64 MiB holds two descriptors.
           size("journal-bytes", "most disk for journal and dead letters", &Options::journal_bytes, 1024 * kKiB,
                1024 * kGiB),
           // 24 h: no machine waits longer to be switched off. 0: unfinished events are counted at once.
           with_letter('t',
                       duration("drain-timeout", "the hard deadline of a stop", &Options::drain_timeout, 0ns, 24h)),
           // 1 h: every load balancer checks more often.
           duration("unready-delay", "before that: not ready, but serving", &Options::unready_delay, 0ns, 1h),
           choice<sluice::LogLevel>("log-level", "what is logged", &Options::log_level,
                                    {{"error", sluice::LogLevel::error},
                                     {"warn", sluice::LogLevel::warn},
                                     {"info", sluice::LogLevel::info},
                                     {"debug", sluice::LogLevel::debug}}),
           choice<LogFormat>("log-format", "of the log", &Options::log_format,
                             {{"text", LogFormat::text}, {"json", LogFormat::json}}),
           toggle("check-config", "check everything, start nothing", &Options::check_config),
           with_letter('h', toggle<Options>("help", "print this help", nullptr)),
           toggle<Options>("version", "print the version", nullptr),
       }},
  };
}

std::string help_text(const std::vector<Group>& groups) {
  std::string text = fmt::format(
      "sluiced accepts events over HTTP, holds them in a bounded queue, delivers them by a pool of workers,\n"
      "and stops without losing any.\n\n{:78}{}\n",
      "Usage: sluiced [FLAG VALUE]...", "default");
  for (const Group& group : groups) text += flags::help_of(group);
  text +=
      "\nA unix socket is open to all users here, as 127.0.0.1 is; with --socket-group to the group.\n"
      "Only --admin unix:PATH can move dead letters. Its default, unless --admin none:\n"
      "$RUNTIME_DIRECTORY/admin.sock or STATE/admin.sock, open to its owner (and root).\n"
      "DUR is 0 or an integer with us ms s min h; SIZE an integer, bare or with B KiB MiB GiB.\n"
      "Without --state-dir: $STATE_DIRECTORY, else $XDG_STATE_HOME/sluice, else ~/.local/state/sluice.\n";
  return text;
}

Exit refusal(int code, std::string_view what) { return {code, fmt::format("sluiced: {}\n", on_one_line(what)), true}; }

// A flag's value without a secret: only a sink's URL can hold one.
std::string value_shown(std::string_view flag, std::string_view value) {
  return shown(flag == "sink" ? sluice::redacted(value) : std::string(value));
}

Exit refusal(std::string_view flag, std::string_view value, const Complaint& complaint) {
  return refusal(complaint.code, fmt::format("--{} {}: {}", flag, value_shown(flag, value), complaint.text));
}

// Values as given, by flag; the first one of a list.
using Given = std::map<std::string, std::string, std::less<>>;

std::optional<Exit> settle_state_and_sink(Options& options, const Given& given, const Environment& environment) {
  if (!given.contains("state-dir")) {
    const std::filesystem::path state_dir =
        flags::default_state_dir(environment.state_directory, environment.xdg_state_home, environment.home);
    if (!state_dir.empty()) options.state_dir = state_dir;
    if (!options.state_dir) {
      return refusal(
          kUnusable,
          "--state-dir: no default without STATE_DIRECTORY, XDG_STATE_HOME or HOME; allowed: a directory or none");
    }
  }
  if (!options.state_dir) {
    // Without a directory, an answer can promise memory only.
    if (given.contains("ack") && options.ack != sluice::Ack::queued) {
      return refusal("ack", given.at("ack"), {kUnusable, "needs a state directory; with --state-dir none: queued"});
    }
    if (given.contains("overflow") && options.overflow != sluice::Overflow::reject) {
      return refusal("overflow", given.at("overflow"),
                     {kUnusable, "needs a state directory; with --state-dir none: reject"});
    }
    options.ack = sluice::Ack::queued;
    options.overflow = sluice::Overflow::reject;
  }
  if (given.contains("sink")) return std::nullopt;
  if (!options.state_dir) {
    return refusal(kUnusable, "--state-dir none: the default sink needs a directory; allowed: none with --sink URL");
  }
  options.sink = "sqlite:" + (*options.state_dir / "events.db").string();
  // The name of the directory may contain characters that have a meaning in a URL.
  if (const auto complaint = complaint_about_sink(options.sink)) {
    return refusal(kUnusable,
                   fmt::format("--state-dir {}: not with the default sink {}: {}; allowed: with --sink URL",
                               shown(options.state_dir->string()), value_shown("sink", options.sink), *complaint));
  }
  return std::nullopt;
}

// The journal's files take precedence over clients: without a file all events are refused, without a socket one client
// waits. Too few descriptors do not prevent the start: a journal without one refuses events until it gets one, and
// loses nothing.
void share_descriptors(Options& options, const Environment& environment) {
  constexpr std::size_t kAdmin = 8;  // for operators in search of the cause
  // Listeners, signals, the log, the journal's first files; a database has three, an event loop five.
  const std::size_t own = 18 + 3 * options.workers + 5 * (options.io_threads + 1);
  constexpr std::size_t kLeastConnections = 12;
  const std::size_t all = environment.descriptors;
  const std::size_t journal = options.state_dir ? sluice::descriptors_of_journal(options.journal_bytes) : 0;
  const std::size_t wanted = journal + 3 * options.workers;  // descriptors that are opened later
  const std::size_t most = all - std::min(all, own + kLeastConnections + kAdmin);
  options.admin_descriptors = all - std::min(wanted, most);
  options.intake_descriptors = options.admin_descriptors - std::min(options.admin_descriptors, kAdmin);
  if (options.intake_descriptors < own + options.max_connections) {
    options.remark = fmt::format(
        "open files are limited to {} (ulimit -n), too few for --max-connections {}: the last "
        "ones wait",
        all, options.max_connections);
  }
  if (most < wanted && journal > 0) {
    options.remark +=
        fmt::format("{}with --journal-bytes {} the journal alone may need {} of {} open files (ulimit -n)",
                    options.remark.empty() ? "" : "; ", sluice::size_text(options.journal_bytes), journal, all);
  }
}

// Adds the default unix socket if --admin names none, in a directory that is private already.
void settle_admin(Options& options, const Environment& environment) {
  if (options.admin.empty()) options.admin.push_back(admin().fallback);
  if (options.admin.front() == kNone) {
    options.admin.clear();
    return;
  }
  const auto is_unix = [](const std::string& text) { return text.starts_with("unix:"); };
  if (std::any_of(options.admin.begin(), options.admin.end(), is_unix)) return;
  std::filesystem::path directory = flags::first_directory(environment.runtime_directory);
  if (directory.empty() && options.state_dir) directory = *options.state_dir;
  if (!directory.empty()) options.admin_socket = (directory / "admin.sock").string();
}

// Rules about more than one flag.
std::optional<Exit> settle(Options& options, const Given& given, const Environment& environment) {
  if (options.listen.empty()) options.listen.push_back(listen().fallback);
  // A named group implies: this group and no other user.
  if (!options.socket_group.empty() && !given.contains("socket-mode")) options.socket_mode = 0660;
  if (options.retry_min > options.retry_max) {
    const auto at_fault = given.find("retry-min");
    if (at_fault != given.end()) {
      return refusal(
          "retry-min", at_fault->second,
          {kUsage, fmt::format("a duration of at most --retry-max, {}", sluice::duration_text(options.retry_max))});
    }
    return refusal(
        "retry-max", given.at("retry-max"),
        {kUsage, fmt::format("a duration of at least --retry-min, {}", sluice::duration_text(options.retry_min))});
  }
  if (auto exit = settle_state_and_sink(options, given, environment)) return exit;
  options.max_request_bytes = std::min(options.max_request_bytes, options.receive_bytes());
  settle_admin(options, environment);
  share_descriptors(options, environment);
  return std::nullopt;
}

}  // namespace

std::variant<Options, Exit> parse(std::span<const char* const> args, const Environment& environment) {
  const std::vector<Group> groups = table();
  const std::optional<flags::Words> words = flags::take_apart(args, flags::names_of(groups));
  if (!words) return refusal(kUsage, fmt::format("{}: a value is missing; allowed: see --help", shown(args.back())));
  if (words->has("help")) return Exit{0, help_text(groups), false};
  if (words->has("version")) return Exit{0, fmt::format("sluiced {}\n", sluice::version()), false};

  Options options;
  options.workers = std::clamp<std::size_t>(environment.cpus, 1, 1024);
  Given given;
  std::optional<Exit> unusable;  // the first one; reported only if no flag is invalid
  for (const auto& [name, value] : words->flags) {
    const Flag& flag = flags::flag_named(groups, name);
    const auto [earlier, is_first] = given.emplace(name, value);
    if (!is_first && !flag.repeatable) {
      return refusal(name, value,
                     {kUsage, fmt::format("given before as {}; allowed: once", value_shown(name, earlier->second))});
    }
    const Answer complaint = flag.set(options, value);
    if (!complaint) continue;
    Exit exit = refusal(name, value, *complaint);
    if (exit.code == kUsage) return exit;
    if (!unusable) unusable = std::move(exit);
  }
  if (!words->others.empty()) {
    const std::string word = sluice::redacted(words->others.front());  // a URL after a flag that is misspelt
    return refusal(kUsage, fmt::format("{}: {}; allowed: flags that --help lists", shown(word),
                                       flags::is_flag(word) ? "no such flag" : "belongs to no flag"));
  }
  if (unusable) return *std::move(unusable);
  if (auto exit = settle(options, given, environment)) return *std::move(exit);
  return options;
}

}  // namespace sluiced::options
