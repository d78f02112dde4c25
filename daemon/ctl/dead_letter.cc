// `sluicectl dead-letter …`: the list is read from the file; a change is asked of the running sluiced, which alone may
// make it. It refuses to go round in circles: what is refused once more becomes a dead letter of its own, and is left.
#include <fmt/format.h>

#include <algorithm>

#include "ctl/commands.h"
#include "ctl/json.h"
#include "sluice/dead_letters.h"

namespace sluicectl {

namespace {

// A request's work; small enough for its answer to come soon.
constexpr std::size_t kAtOnce = 500;

// POSTs the action until so many were moved, or all that there were at the first answer.
int ask_for(const Arguments& arguments, std::string_view action, std::string_view moved_name) {
  HttpClient client(arguments.admin);
  std::optional<std::uint64_t> wanted = arguments.limit;
  std::uint64_t moved = 0, left = 0;
  int code = kOk;
  do {
    const std::size_t now =
        static_cast<std::size_t>(std::min<std::uint64_t>(kAtOnce, wanted.value_or(kAtOnce) - moved));
    Answer answer;
    if (client.ask("POST", fmt::format("/dead-letter/{}?limit={}", action, now), {}, {}, answer) !=
        HttpClient::Result::answered) {
      fmt::print(stderr, "sluicectl: {}\n", client.error());
      code = kUnreachable;
      break;
    }
    const Json said(answer.body);
    const std::uint64_t this_time = said.number(fmt::format("/{}", moved_name)).value_or(0);
    left = said.number("/left").value_or(0);
    moved += this_time;
    if (answer.status != 200) {
      fmt::print(stderr, "sluicectl: {} answered {}: {}\n", arguments.admin.shown, answer.status,
                 said.text("/error").value_or("no dead letters there"));
      code = kNo;
      break;
    }
    if (!wanted) wanted = moved + left;
    if (this_time == 0) break;
  } while (moved < *wanted);
  fmt::print("{}={} left={}\n", moved_name, moved, left);
  return code;
}

}  // namespace

int dead_letter_ls(const Arguments& arguments) {
  std::uint64_t number = 0;
  int code = kOk;
  const auto show = [&](std::string_view line, const sluice::DeadLetterEntry* entry) {
    ++number;
    if (entry == nullptr) {
      fmt::print(stderr, "sluicectl: line {} is no dead letter\n", number);
      code = kNo;
    } else if (arguments.json) {
      fmt::print("{}\n", line);
    } else {
      fmt::print("{} {} attempts={} bytes={} type={} reason={}\n", entry->id, entry->time, entry->attempts,
                 entry->payload.size(), sluicectl::quoted(entry->content_type), sluicectl::quoted(entry->reason));
    }
    return true;
  };
  if (const std::error_code error = sluice::for_each_dead_letter(arguments.state_dir, show)) {
    fmt::print(stderr, "sluicectl: read the dead letters in {}: {}\n", arguments.state_dir.string(), error.message());
    return kUnreadable;
  }
  return code;
}

int dead_letter_requeue(const Arguments& arguments) { return ask_for(arguments, "requeue", "requeued"); }

int dead_letter_drop(const Arguments& arguments) { return ask_for(arguments, "drop", "dropped"); }

}  // namespace sluicectl
