// One table of commands, which says what each takes; the parser goes by it, and --help is the text below.
#include "ctl/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <vector>

#include "sluice/sinks.h"
#include "sluice/version.h"

namespace sluicectl {

namespace {

constexpr std::string_view kHelp = R"(sluicectl: asks a sluiced, sends it events, and looks into its state directory

  sluicectl status [--admin ADDR | --state-dir DIR] [--json]
      how it is: phase, books, queue, workers; exit 1 if it takes no events
  sluicectl send FILE|- [--to ADDR] [--batch N] [--retry-for DUR]
      posts each line, a JSON value, as an event; says what was accepted and which lines were not
  sluicectl journal ls [--state-dir DIR] [--json]
      the segments of the journal
  sluicectl journal verify [--state-dir DIR] [--json]
      reads all of it; exit 1 if something is broken, with each place
  sluicectl journal dump [--state-dir DIR] [--json]
      the events that are not finished, one a line; with --json as the file sink writes them
  sluicectl journal replay-to URL [--state-dir DIR] [--batch N] [--retry-for DUR] [--place FILE|none]
      posts the events that are not finished to another listener, in their order; what was accepted is remembered, and
      the same command goes on behind it. They stay in the journal: where sluiced starts with it again they are
      delivered once more. --batch 1, for servers of others: one a request, each with its content type
  sluicectl dead-letter ls [--state-dir DIR] [--json]
      the events that the sink refused for good, with the reason
  sluicectl dead-letter requeue [--limit N] [--admin unix:PATH | --state-dir DIR]
      the oldest N of them, or all, become new events
  sluicectl dead-letter drop --limit N|--all [--admin unix:PATH | --state-dir DIR]
      the oldest N of them, or all, are thrown away

  --admin ADDR      the admin address of a running sluiced; what   STATE/admin.sock, /run/sluiced/admin.sock,
                    changes something goes by unix:PATH alone      for status also 127.0.0.1:7071
  --to ADDR         where it takes events, or http://ADDR/PATH     127.0.0.1:7070
  --batch N         most events a request, 1 to 10000              500, of a replay 10000
  --place FILE      remembers what a server has accepted of a      a file for each URL in STATE, replay-….place
                    replay; remove it to send all of it again
  --retry-for DUR   how long to try again when it is full,         30s
                    closing or away: 0, or with ms s min h
  -d, --state-dir   STATE, as of sluiced                           $STATE_DIRECTORY, else $XDG_STATE_HOME/sluice,
                                                                   else ~/.local/state/sluice
  --help, --version

ADDR: HOST:PORT, [::1]:PORT or unix:PATH.
Exit codes: 0 ok; 1 the answer is no (damage, something refused, not ready); 64 usage; 69 cannot connect; 74 cannot read.
)";

// What may follow a command.
struct Form {
  Command command;
  std::array<std::string_view, 2> words;
  std::string_view operand;  // empty: takes none
  std::vector<std::string_view> flags;
};

std::vector<Form> forms() {
  return {
      {Command::status, {"status", ""}, "", {"admin", "state-dir", "json"}},
      {Command::send, {"send", ""}, "FILE or -", {"to", "batch", "retry-for"}},
      {Command::journal_ls, {"journal", "ls"}, "", {"state-dir", "json"}},
      {Command::journal_verify, {"journal", "verify"}, "", {"state-dir", "json"}},
      {Command::journal_dump, {"journal", "dump"}, "", {"state-dir", "json"}},
      {Command::journal_replay_to, {"journal", "replay-to"}, "URL", {"state-dir", "batch", "retry-for", "place"}},
      {Command::dead_letter_ls, {"dead-letter", "ls"}, "", {"state-dir", "json"}},
      {Command::dead_letter_requeue, {"dead-letter", "requeue"}, "", {"admin", "state-dir", "limit"}},
      {Command::dead_letter_drop, {"dead-letter", "drop"}, "", {"admin", "state-dir", "limit", "all"}},
  };
}

struct Wrong {
  std::string text;
};

std::size_t count(std::string_view flag, std::string_view text, std::size_t least, std::size_t most) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw Wrong{fmt::format("--{} '{}': allowed: an integer from {} to {}", flag, text, least, most)};
  }
  return value;
}

std::chrono::milliseconds duration(std::string_view flag, std::string_view text) {
  using namespace std::chrono_literals;
  constexpr std::array<std::pair<std::string_view, std::chrono::milliseconds>, 4> kUnits{
      {{"ms", 1ms}, {"min", 1min}, {"s", 1s}, {"h", 1h}}};
  if (text == "0") return 0ms;
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && value >= 0) {
    for (const auto& [name, unit] : kUnits) {
      if (std::string_view(end, text.data() + text.size()) == name && value <= 24h / unit) return value * unit;
    }
  }
  throw Wrong{fmt::format("--{} '{}': allowed: 0, or an integer with ms s min h, at most 24h", flag, text)};
}

Address address(std::string_view flag, std::string_view text) {
  if (auto parsed = parse_address(text)) return *std::move(parsed);
  throw Wrong{fmt::format("--{} '{}': allowed: HOST:PORT, [::1]:PORT or unix:PATH", flag, text)};
}

Url url(std::string_view what, std::string_view text) {
  if (auto parsed = parse_url(text)) return *std::move(parsed);
  throw Wrong{fmt::format("{} '{}': allowed: http://HOST[:PORT][/PATH], HOST:PORT, [::1]:PORT or unix:PATH", what,
                          sluice::redacted(text))};
}

void set(Arguments& arguments, std::string_view flag, std::string_view value) {
  if (flag == "admin") arguments.admin = address(flag, value);
  if (flag == "to") arguments.to = url("--to", value);
  if (flag == "batch") arguments.batch = count(flag, value, 1, 10'000);
  if (flag == "retry-for") arguments.retry_for = duration(flag, value);
  if (flag == "place") {
    if (value.empty()) throw Wrong{"--place '': allowed: a file, or none"};
    arguments.place = value;
  }
  if (flag == "limit") arguments.limit = count(flag, value, 1, 1'000'000'000);
  if (flag == "state-dir") {
    if (value.empty()) throw Wrong{"--state-dir '': allowed: a directory"};
    arguments.state_dir = value;
  }
}

bool is_switch(std::string_view flag) { return flag == "json" || flag == "all"; }

// A flag as given; its name, and its value if it stands in the same word.
struct Given {
  std::string_view name;
  std::optional<std::string_view> value;
};
std::optional<Given> as_flag(std::string_view word) {
  if (word == "-d") return Given{"state-dir", {}};
  if (!word.starts_with("--")) return std::nullopt;
  word.remove_prefix(2);
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return Given{word, {}};
  return Given{word.substr(0, equals), word.substr(equals + 1)};
}

const Form& form_of(const std::vector<Form>& all, std::span<const std::string_view> words) {
  if (words.empty()) throw Wrong{"a command is missing; allowed: see --help"};
  const std::string_view second = words.size() > 1 ? words[1] : std::string_view();
  bool first_is_known = false;
  for (const Form& form : all) {
    if (form.words[0] != words[0]) continue;
    first_is_known = true;
    if (form.words[1].empty() || form.words[1] == second) return form;
  }
  throw Wrong{
      fmt::format("{}: no such command; allowed: see --help",
                  first_is_known ? fmt::format("'{}' after {}", second, words[0]) : fmt::format("'{}'", words[0]))};
}

// The default places of the admin socket, or the one in the state directory that was named.
std::vector<Address> admin_sockets(const std::filesystem::path& named, const Environment& environment) {
  std::vector<Address> all;
  const auto add = [&all](const std::filesystem::path& directory) {
    if (directory.empty()) return;
    if (auto socket = parse_address("unix:" + (directory / "admin.sock").string())) all.push_back(*std::move(socket));
  };
  if (!named.empty()) {
    add(named);
    return all;
  }
  const std::string& systemd = environment.runtime_directory;
  add(systemd.substr(0, systemd.find(':')));
  add(default_state_dir(environment));
  add("/run/sluiced");
  return all;
}

Arguments take(std::span<const char* const> args, const Environment& environment) {
  std::vector<std::string_view> words;
  std::vector<std::pair<std::string_view, std::string_view>> flags;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const auto flag = as_flag(args[i]);
    if (!flag) {
      words.emplace_back(args[i]);
    } else if (flag->value) {
      if (is_switch(flag->name)) throw Wrong{fmt::format("--{}: takes no value", flag->name)};
      flags.emplace_back(flag->name, *flag->value);
    } else if (is_switch(flag->name)) {
      flags.emplace_back(flag->name, "");
    } else {
      if (i + 1 == args.size()) throw Wrong{fmt::format("--{}: a value is missing, or no such flag", flag->name)};
      flags.emplace_back(flag->name, args[++i]);
    }
  }

  const std::vector<Form> all = forms();
  const Form& form = form_of(all, words);
  Arguments arguments;
  arguments.command = form.command;
  arguments.to = url("--to", "127.0.0.1:7070");
  if (form.command == Command::journal_replay_to) arguments.batch = 10'000;
  bool everything = false;
  for (const auto& [flag, value] : flags) {
    if (std::ranges::find(form.flags, flag) == form.flags.end()) {
      throw Wrong{fmt::format("--{}: not a flag of this command; allowed: {}", flag, "see --help")};
    }
    set(arguments, flag, value);
    arguments.json = arguments.json || flag == "json";
    everything = everything || flag == "all";
  }
  const std::size_t named = form.words[1].empty() ? 1 : 2;
  const std::size_t wanted = named + (form.operand.empty() ? 0 : 1);
  if (words.size() < wanted) throw Wrong{fmt::format("{}: {} is missing", words[named - 1], form.operand)};
  if (words.size() > wanted) throw Wrong{fmt::format("'{}': one word too many; allowed: see --help", words[wanted])};
  if (form.command == Command::send) arguments.file = words[1];
  if (form.command == Command::journal_replay_to) arguments.to = url("URL", words[2]);
  if (form.command == Command::dead_letter_drop && everything == arguments.limit.has_value()) {
    throw Wrong{"drop: how many? allowed: --limit N or --all"};
  }
  const bool may_do_without = std::ranges::find(form.flags, "admin") != form.flags.end();
  arguments.state_dir_named = !arguments.state_dir.empty();
  arguments.admin_sockets = admin_sockets(arguments.state_dir, environment);
  if (arguments.admin_sockets.empty() && !arguments.admin && may_do_without) {
    throw Wrong{fmt::format("--state-dir {}: too long for a socket in it; allowed: --admin unix:PATH",
                            arguments.state_dir.string())};
  }
  if (arguments.state_dir.empty()) arguments.state_dir = default_state_dir(environment);
  if (arguments.state_dir.empty() && !may_do_without &&
      std::ranges::find(form.flags, "state-dir") != form.flags.end()) {
    throw Wrong{"--state-dir: no default without STATE_DIRECTORY, XDG_STATE_HOME or HOME"};
  }
  return arguments;
}

}  // namespace

std::filesystem::path default_state_dir(const Environment& environment) {
  const std::string& systemd = environment.state_directory;
  std::filesystem::path first = systemd.substr(0, systemd.find(':'));
  if (!first.empty()) return first;
  const std::filesystem::path xdg = environment.xdg_state_home;
  if (xdg.is_absolute()) return xdg / "sluice";
  if (!environment.home.empty()) return std::filesystem::path(environment.home) / ".local/state/sluice";
  return {};
}

std::variant<Arguments, Exit> parse(std::span<const char* const> args, const Environment& environment) {
  for (const std::string_view word : args) {
    if (word == "--help" || word == "-h") return Exit{kOk, std::string(kHelp)};
    if (word == "--version") return Exit{kOk, fmt::format("sluicectl {}\n", sluice::version())};
  }
  try {
    return take(args, environment);
  } catch (const Wrong& wrong) {
    return Exit{kUsage, fmt::format("sluicectl: {}\n", wrong.text)};
  }
}

}  // namespace sluicectl
