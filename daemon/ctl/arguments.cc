// A table of commands and a table of flags: the parser is made from both, --help from the second and the text below.
#include "ctl/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "flags/directories.h"
#include "flags/kinds.h"
#include "flags/words.h"
#include "sluice/sinks.h"
#include "sluice/version.h"

namespace sluicectl {

namespace {

namespace flags = sluiced::flags;
using flags::Answer;
using flags::wrong;
using Flag = flags::Flag<Arguments>;
using Group = flags::Group<Arguments>;

constexpr std::string_view kCommands = R"(sluicectl: asks a sluiced, sends it events, and reads its state directory

  sluicectl status [--admin ADDR | --state-dir DIR] [--json]
      phase, books, queue, workers; exit 1 if it takes no events
  sluicectl send FILE|- [--to ADDR] [--batch N] [--retry-for DUR]
      posts each line, a JSON value, as an event; prints how many were accepted and which lines were not
  sluicectl journal ls [--state-dir DIR] [--json]
      the segments of the journal
  sluicectl journal verify [--state-dir DIR] [--json]
      reads all of it; exit 1 if something is broken, with each place
  sluicectl journal dump [--state-dir DIR] [--json]
      the unfinished events, one a line; with --json as the file sink writes them
  sluicectl journal replay-to URL [--state-dir DIR] [--batch N] [--retry-for DUR] [--place FILE|none]
      posts the unfinished events to another listener, in their order. What was accepted is remembered, and the same
      command continues after it. The events stay in the journal: a sluiced that starts with it delivers them once
      more. --batch 1, for other servers: one event a request, with its content type
  sluicectl dead-letter ls [--state-dir DIR] [--json]
      the events that the sink refused for good, with the reason
  sluicectl dead-letter requeue [--limit N] [--admin unix:PATH | --state-dir DIR]
      the oldest N of them, or all, become new events
  sluicectl dead-letter drop --limit N|--all [--admin unix:PATH | --state-dir DIR]
      the oldest N of them, or all, are deleted
)";

constexpr std::string_view kNotes = R"(
ADDR is HOST:PORT, [::1]:PORT or unix:PATH; DUR is 0 or an integer with us ms s min h.
Without --admin: STATE/admin.sock, /run/sluiced/admin.sock; for status also 127.0.0.1:7071. Dead letters are changed
through unix:PATH only.
Without --state-dir: $STATE_DIRECTORY, else $XDG_STATE_HOME/sluice, else ~/.local/state/sluice.
Without --place: a file for each URL in STATE, replay-….place. Without that file everything is sent again.
Exit codes: 0 ok; 1 the answer is no (damage, something refused, not ready); 64 usage; 69 cannot connect; 74 cannot read.
)";

constexpr std::size_t kMaxBatch = 10'000;  // also the default of a replay
constexpr std::string_view kAddressForms = "HOST:PORT, [::1]:PORT or unix:PATH";
constexpr std::string_view kUrlForms = "http://HOST[:PORT][/PATH], HOST:PORT, [::1]:PORT or unix:PATH";

Flag admin() {
  return {.name = "admin",
          .argument = "ADDR",
          .meaning = "the admin address of a running sluiced",
          .fallback = "see below",
          .set = [](Arguments& arguments, std::string_view text) {
            arguments.admin = parse_address(text);
            return arguments.admin ? Answer{} : wrong(std::string(kAddressForms));
          }};
}

Flag to() {
  return {.name = "to",
          .argument = "ADDR",
          .meaning = "where it takes events, or http://ADDR/PATH",
          .fallback = "127.0.0.1:7070",
          .set = [](Arguments& arguments, std::string_view text) {
            auto url = parse_url(text);
            if (!url) return wrong(std::string(kUrlForms));
            arguments.to = *std::move(url);
            return Answer{};
          }};
}

Flag place() {
  return {.name = "place",
          .argument = "FILE",
          .meaning = "remembers what a replay has sent; or none",
          .fallback = "see below",
          .set = [](Arguments& arguments, std::string_view text) {
            arguments.place = text;
            return text.empty() ? wrong("a file, or none") : Answer{};
          }};
}

Flag limit() {
  return {.name = "limit",
          .argument = "N",
          .meaning = "at most so many dead letters, oldest first",
          .fallback = {},
          .set = [](Arguments& arguments, std::string_view text) {
            constexpr std::size_t kMax = 1'000'000'000;
            arguments.limit = 0;
            return flags::take<std::size_t>(*arguments.limit, sluice::parse_count(text), 1, kMax,
                                            fmt::format("an integer from 1 to {}", kMax));
          }};
}

Flag state_dir() {
  return {.name = "state-dir",
          .letter = 'd',
          .argument = "DIR",
          .meaning = "STATE, the directory of a sluiced",
          .fallback = "see below",
          .set = [](Arguments& arguments, std::string_view text) {
            arguments.state_dir = text;
            return text.empty() ? wrong("a directory") : Answer{};
          }};
}

std::vector<Group> table() {
  using namespace std::chrono_literals;
  return {
      {"Flags",
       {
           admin(),
           state_dir(),
           to(),
           flags::with_fallback("500, of a replay 10000",
                                flags::count("batch", "most events a request", &Arguments::batch, 1, kMaxBatch)),
           flags::duration("retry-for", "how long to retry while it is full or away", &Arguments::retry_for, 0ns, 24h),
           place(),
           limit(),
           flags::toggle("all", "all dead letters", &Arguments::everything),
           flags::toggle("json", "the answer as JSON", &Arguments::json),
           flags::with_letter('h', flags::toggle<Arguments>("help", "say this", nullptr)),
           flags::toggle<Arguments>("version", "say which version this is", nullptr),
       }}};
}

// A command and what may follow it.
struct Form {
  Command command;
  std::array<std::string_view, 2> words;
  std::string_view operand;  // empty: takes none
  std::vector<std::string_view> flags;

  [[nodiscard]] bool takes(std::string_view flag) const { return std::ranges::find(flags, flag) != flags.end(); }
  [[nodiscard]] std::size_t size() const { return words[1].empty() ? 1 : 2; }
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

const Form& form_of(const std::vector<Form>& all, const std::vector<std::string>& words) {
  if (words.empty()) throw Wrong{"a command is missing; allowed: see --help"};
  const std::string_view second = words.size() > 1 ? std::string_view(words[1]) : std::string_view();
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
std::vector<Address> admin_sockets(const std::filesystem::path& named, const std::filesystem::path& otherwise,
                                   const Environment& environment) {
  std::vector<Address> all;
  const auto add = [&all](const std::filesystem::path& directory) {
    if (directory.empty()) return;
    if (auto socket = parse_address("unix:" + (directory / "admin.sock").string())) all.push_back(*std::move(socket));
  };
  if (!named.empty()) {
    add(named);
    return all;
  }
  add(flags::first_directory(environment.runtime_directory));
  add(otherwise);
  add("/run/sluiced");
  return all;
}

void take_flags(Arguments& arguments, const Form& form, const flags::Words& words, const std::vector<Group>& groups) {
  for (const auto& [name, value] : words.flags) {
    if (!form.takes(name)) throw Wrong{fmt::format("--{}: not a flag of this command; allowed: see --help", name)};
    const Answer complaint = flags::flag_named(groups, name).set(arguments, value);
    if (complaint) {
      throw Wrong{fmt::format("--{} {}: allowed: {}", name, flags::shown(sluice::redacted(value)), complaint->text)};
    }
  }
}

void take_operand(Arguments& arguments, const Form& form, const std::vector<std::string>& words) {
  const std::size_t wanted = form.size() + (form.operand.empty() ? 0 : 1);
  if (words.size() < wanted) throw Wrong{fmt::format("{}: {} is missing", words[form.size() - 1], form.operand)};
  if (words.size() > wanted) throw Wrong{fmt::format("'{}': one word too many; allowed: see --help", words[wanted])};
  if (form.command == Command::send) arguments.file = words.back();
  if (form.command != Command::journal_replay_to) return;
  auto url = parse_url(words.back());
  if (!url) throw Wrong{fmt::format("URL {}: allowed: {}", flags::shown(sluice::redacted(words.back())), kUrlForms)};
  arguments.to = *std::move(url);
}

void settle_directories(Arguments& arguments, const Form& form, const Environment& environment) {
  const std::filesystem::path otherwise =
      flags::default_state_dir(environment.state_directory, environment.xdg_state_home, environment.home);
  arguments.state_dir_named = !arguments.state_dir.empty();
  arguments.admin_sockets = admin_sockets(arguments.state_dir, otherwise, environment);
  if (arguments.admin_sockets.empty() && !arguments.admin && form.takes("admin")) {
    throw Wrong{fmt::format("--state-dir {}: too long for a socket in it; allowed: --admin unix:PATH",
                            arguments.state_dir.string())};
  }
  if (arguments.state_dir.empty()) arguments.state_dir = otherwise;
  if (arguments.state_dir.empty() && !form.takes("admin") && form.takes("state-dir")) {
    throw Wrong{"--state-dir: no default without STATE_DIRECTORY, XDG_STATE_HOME or HOME"};
  }
}

Arguments take(const flags::Words& words, const std::vector<Group>& groups, const Environment& environment) {
  const auto unknown = std::ranges::find_if(words.others, flags::is_flag);
  if (unknown != words.others.end())
    throw Wrong{fmt::format("{}: no such flag; allowed: see --help", flags::shown(sluice::redacted(*unknown)))};
  const std::vector<Form> all = forms();
  const Form& form = form_of(all, words.others);
  Arguments arguments;
  arguments.command = form.command;
  arguments.to = parse_url("127.0.0.1:7070").value();
  if (form.command == Command::journal_replay_to) arguments.batch = kMaxBatch;
  take_flags(arguments, form, words, groups);
  take_operand(arguments, form, words.others);
  if (form.command == Command::dead_letter_drop && arguments.everything == arguments.limit.has_value()) {
    throw Wrong{"drop: how many? allowed: --limit N or --all"};
  }
  settle_directories(arguments, form, environment);
  return arguments;
}

std::string help_text(const std::vector<Group>& groups) {
  std::string text(kCommands);
  for (const Group& group : groups) text += flags::help_of(group);
  return text.append(kNotes);
}

}  // namespace

std::variant<Arguments, Exit> parse(std::span<const char* const> args, const Environment& environment) {
  const std::vector<Group> groups = table();
  try {
    const auto words = flags::take_apart(args, flags::names_of(groups));
    if (!words) throw Wrong{fmt::format("{}: a value is missing; allowed: see --help", flags::shown(args.back()))};
    if (words->has("help")) return Exit{kOk, help_text(groups)};
    if (words->has("version")) return Exit{kOk, fmt::format("sluicectl {}\n", sluice::version())};
    return take(*words, groups, environment);
  } catch (const Wrong& wrong) {
    return Exit{kUsage, fmt::format("sluicectl: {}\n", flags::on_one_line(wrong.text))};
  }
}

}  // namespace sluicectl
