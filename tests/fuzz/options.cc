// The command line: words, one a line. It ends in options that hold what they promise, or in one line with a code that
// says why not; `--flag=value` means what `--flag value` means; and the order of flags decides nothing.
#include "options/options.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "fuzz.h"
#include "sluice/sinks.h"

namespace {

using fuzz::must;
using sluiced::options::Environment;
using sluiced::options::Exit;
using sluiced::options::Options;
using Result = std::variant<Options, Exit>;

Result parse(const std::vector<std::string>& words) {
  std::vector<const char*> args;
  for (const std::string& word : words) args.push_back(word.c_str());
  static const Environment world{.state_directory = {}, .xdg_state_home = {}, .home = "/home/ann", .cpus = 3};
  return sluiced::options::parse(args, world);
}

std::string story_of(const Result& result, bool with_text) {
  if (const auto* exit = std::get_if<Exit>(&result)) {
    return fmt::format("exit {} {}", exit->code, with_text ? exit->text : "");
  }
  const auto& it = std::get<Options>(result);
  std::multiset<std::string> listen(it.listen.begin(), it.listen.end());
  std::string story;
  for (const std::string& address : listen) story += address + ' ';
  for (const std::string& address : std::multiset<std::string>(it.admin.begin(), it.admin.end()))
    story += address + ' ';
  for (const std::string& name : std::multiset<std::string>(it.allow_host.begin(), it.allow_host.end()))
    story += name + ' ';
  for (const std::string& name : std::multiset<std::string>(it.allow_origin.begin(), it.allow_origin.end()))
    story += name + ' ';
  return story +
         fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", it.admin_socket, it.sink,
                     it.workers, it.io_threads, it.queue_events, it.queue_bytes, static_cast<int>(it.overflow),
                     static_cast<int>(it.ack), it.state_dir ? it.state_dir->string() : "-", it.journal_bytes,
                     it.drain_timeout.count() + it.unready_delay.count(), it.batch_events, it.batch_linger.count(),
                     it.retry_min.count(), it.retry_max.count(), it.retry_limit, it.max_event_bytes,
                     it.max_request_bytes, it.max_connections + it.max_connections_per_client,
                     it.request_timeout.count() + it.idle_timeout.count(), static_cast<int>(it.log_level),
                     static_cast<int>(it.log_format), it.check_config);
}

void check(const Result& result) {
  if (const auto* exit = std::get_if<Exit>(&result)) {
    must(exit->code == 0 || exit->code == 64 || exit->code == 78, "a code of ours", exit->text);
    must(exit->on_stderr == (exit->code != 0), "only what is wrong is for stderr", exit->text);
    if (exit->code == 0) return;
    must(exit->text.starts_with("sluiced: ") && std::ranges::count(exit->text, '\n') == 1 && exit->text.ends_with('\n'),
         "one line", exit->text);
    return;
  }
  const auto& it = std::get<Options>(result);
  must(!it.listen.empty(), "it listens somewhere");
  must(!sluice::complaint_about(it.sink), "nothing is wrong with its sink", it.sink);
  must(it.workers >= 1 && it.workers <= 1024, "it has workers");
  must(it.batch_events >= 1 && it.queue_events >= 1 && it.max_connections >= 1, "room for one");
  must(it.max_request_bytes >= 1 && it.max_request_bytes <= it.receive_bytes(), "a request fits into its quarter");
  must(it.retry_min.count() > 0 && it.retry_min <= it.retry_max, "waits are waits");
  must(it.drain_timeout.count() >= 0 && it.request_timeout.count() > 0, "times are times");
  must(it.state_dir || (it.ack == sluice::Ack::queued && it.overflow == sluice::Overflow::reject),
       "without a directory nothing is promised that needs one");
}

// Flags with a value, as two words where they were one; empty if there is nothing to take apart for sure.
std::vector<std::string> taken_apart(const std::vector<std::string>& words) {
  static const std::set<std::string_view> with_value{"--listen",
                                                     "--admin",
                                                     "--allow-host",
                                                     "--allow-origin",
                                                     "--sink",
                                                     "--workers",
                                                     "--io-threads",
                                                     "--queue-events",
                                                     "--queue-bytes",
                                                     "--overflow",
                                                     "--ack",
                                                     "--state-dir",
                                                     "--journal-bytes",
                                                     "--drain-timeout",
                                                     "--unready-delay",
                                                     "--batch-events",
                                                     "--batch-linger",
                                                     "--retry-min",
                                                     "--retry-max",
                                                     "--retry-limit",
                                                     "--log-level",
                                                     "--log-format",
                                                     "--max-event-bytes",
                                                     "--max-connections",
                                                     "--max-connections-per-client",
                                                     "--request-timeout",
                                                     "--idle-timeout",
                                                     "--max-request-bytes"};
  std::vector<std::string> apart;
  for (const std::string& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || !with_value.contains(word.substr(0, equals))) return {};
    const std::string value = word.substr(equals + 1);
    // cxxopts ends a value at a carriage return, and then finds no flag in what is one word.
    if (value.empty() || value.starts_with('-') || value.find('\r') != std::string::npos) return {};
    apart.push_back(word.substr(0, equals));
    apart.push_back(value);
  }
  return apart;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::view(data, size);
  if (text.find('\0') != std::string_view::npos) return -1;  // no word of a command line has one
  std::vector<std::string> words;
  for (fuzz::Pieces pieces(text); !pieces.empty();) words.emplace_back(pieces.next('\n'));

  const Result result = parse(words);
  check(result);
  const std::vector<std::string> apart = taken_apart(words);
  if (apart.empty()) return 0;
  must(story_of(parse(apart), true) == story_of(result, true), "two words say what one says", text);
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  must(story_of(parse(reversed), false) == story_of(result, false), "in any order they say the same", text);
  return 0;
}
