// `sluicectl dead-letter …`: reads the list from the file; asks the running sluiced, the only writer, for changes.
// Moves at most the dead letters that there were at the first answer, so it ends even if requeued events are refused
// again.
#include <fmt/format.h>

#include <algorithm>

#include "ctl/commands.h"
#include "ctl/find_admin.h"
#include "ctl/json.h"
#include "ctl/printable.h"
#include "host/standard_streams.h"
#include "sluice/dead_letters.h"

namespace sluicectl {

namespace {

// Of one request; few enough for an answer within a second.
constexpr std::size_t kAtOnce = 500;

// POSTs the action until so many were moved, or all that there were at the first answer.
int ask_for(const Arguments& arguments, std::string_view action, std::string_view moved_name) {
  const Address admin = find_admin(arguments, {});
  HttpClient client(admin);
  client.always_send("Sluice-Admin: 1");
  std::optional<std::uint64_t> wanted = arguments.limit;
  std::uint64_t moved = 0, left = 0;
  int code = kOk;
  do {
    const std::size_t now =
        static_cast<std::size_t>(std::min<std::uint64_t>(kAtOnce, wanted.value_or(kAtOnce) - moved));
    Answer answer;
    if (client.ask("POST", fmt::format("/dead-letter/{}?limit={}", action, now), {}, {}, answer) !=
        HttpClient::Result::answered) {
      sluiced::host::complain({fmt::format("sluicectl: {}", client.error())});
      code = kUnreachable;
      break;
    }
    const Json said(answer.body);
    const std::uint64_t this_time = said.number(fmt::format("/{}", moved_name)).value_or(0);
    left = said.number("/left").value_or(0);
    if (this_time > now) {
      sluiced::host::complain({fmt::format("sluicectl: {} says that it has {} {}, {} were asked for", admin.shown,
                                           moved_name, this_time, now)});
      code = kNo;
      break;
    }
    moved += this_time;
    if (const auto damaged = said.number("/damaged")) {
      fmt::print(stderr, "sluicectl: {} lines were no dead letters, the first of them line {}: set aside in {}\n",
                 *damaged, said.number("/first_damaged").value_or(0), "dead-letter.damaged");
      code = kNo;
    }
    if (answer.status != 200) {
      auto why = said.text("/error");
      if (!why) why = said.text("/detail");
      sluiced::host::complain({fmt::format("sluicectl: {} answered {}: {}", admin.shown, answer.status,
                                           printable(why.value_or("no dead letters there")))});
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
      sluiced::host::complain({fmt::format("sluicectl: line {} is no dead letter", number)});
      code = kNo;
    } else if (arguments.json) {
      fmt::print("{}\n", printable_json(line));
    } else {
      fmt::print("{} {} attempts={} bytes={} type={} reason={}\n", printable(entry->id), printable(entry->time),
                 entry->attempts, entry->payload.size(), sluicectl::quoted(entry->content_type),
                 sluicectl::quoted(entry->reason));
    }
    return true;
  };
  if (const std::error_code error = sluice::for_each_dead_letter(arguments.state_dir, show)) {
    sluiced::host::complain(
        {fmt::format("sluicectl: read the dead letters in {}: {}", arguments.state_dir.string(), error.message())});
    return kUnreadable;
  }
  return code;
}

int dead_letter_requeue(const Arguments& arguments) { return ask_for(arguments, "requeue", "requeued"); }

int dead_letter_drop(const Arguments& arguments) { return ask_for(arguments, "drop", "dropped"); }

}  // namespace sluicectl
