// `sluicectl status`: the admin's page, as it is or made readable. It refuses an answer that is no such page (69).
#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/json.h"

namespace sluicectl {

namespace {

// ` name=N` for each of these members of the page.
std::string members(const Json& page, std::string_view group, std::initializer_list<std::string_view> names) {
  std::string line;
  for (const std::string_view name : names) {
    const auto value = page.number(fmt::format("/{}/{}", group, name));
    if (value) line += fmt::format(" {}={}", name, *value);
  }
  return line;
}

void print_workers(const Json& page) {
  for (std::size_t i = 0;; ++i) {
    const auto at = [i](std::string_view name) { return fmt::format("/workers/{}/{}", i, name); };
    const auto state = page.text(at("state"));
    if (!state) return;
    fmt::print("worker {}: {} state={} for={:.3f}s events={} attempt={} delivered={}\n", i,
               page.text(at("sink")).value_or("?"), *state, page.real(at("seconds")).value_or(0),
               page.number(at("events")).value_or(0), page.number(at("attempt")).value_or(0),
               page.number(at("delivered")).value_or(0));
  }
}

}  // namespace

int status(const Arguments& arguments) {
  HttpClient client(arguments.admin);
  Answer answer;
  if (client.ask("GET", "/status", {}, {}, answer) != HttpClient::Result::answered) {
    fmt::print(stderr, "sluicectl: {}\n", client.error());
    return kUnreachable;
  }
  const Json page(answer.body);
  const auto phase = page.text("/phase");
  if (answer.status != 200 || !phase) {
    fmt::print(stderr, "sluicectl: {} has no status of a sluiced to show (it answered {})\n", arguments.admin.shown,
               answer.status);
    return kUnreachable;
  }
  if (arguments.json) {
    fmt::print("{}", answer.body);
  } else {
    fmt::print("sluiced {} phase={} up={:.0f}s run={}\n", page.text("/version").value_or("?"), *phase,
               page.real("/uptime_seconds").value_or(0), page.text("/run").value_or("?"));
    fmt::print("books:{}\n", members(page, "books", {"accepted", "delivered", "dead", "kept", "lost", "replayed"}));
    fmt::print("refused:{}\n", members(page, "refused", {"full", "too_large", "closed", "failed"}));
    fmt::print("queue:{}\n", members(page, "queue", {"events", "events_limit", "bytes", "bytes_limit", "in_flight"}));
    const std::string cause = page.text("/journal/cause").value_or("");
    fmt::print("journal:{}{}\n", members(page, "journal", {"bytes", "bytes_limit"}),
               cause.empty() ? "" : " failed: " + cause);
    fmt::print("http:{}\n", members(page, "http", {"connections", "answers_owed"}));
    print_workers(page);
  }
  return *phase == "running" ? kOk : kNo;
}

}  // namespace sluicectl
