// `sluicectl status`: the status page of the admin listener, as JSON or as text. Refuses an answer that is not a status
// page (69).
#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/find_admin.h"
#include "ctl/json.h"
#include "ctl/printable.h"
#include "host/standard_streams.h"

namespace sluicectl {

namespace {

// A member that is text; "?" if there is none.
std::string text(const Json& page, std::string_view pointer) { return printable(page.text(pointer).value_or("?")); }

// ` name=N` for each of these members of the page.
std::string members(const Json& page, std::string_view group, std::initializer_list<std::string_view> names) {
  std::string line;
  for (const std::string_view name : names) {
    const auto value = page.number(fmt::format("/{}/{}", group, name));
    if (value) line += fmt::format(" {}={}", name, *value);
  }
  return line;
}

// The most that sluiced has; bounds the loop, since an answer may say anything.
constexpr std::size_t kMaxWorkers = 1024;

void print_workers(const Json& page) {
  for (std::size_t i = 0; i < kMaxWorkers; ++i) {
    const auto at = [i](std::string_view name) { return fmt::format("/workers/{}/{}", i, name); };
    const auto state = page.text(at("state"));
    if (!state) return;
    fmt::print("worker {}: {} state={} for={:.3f}s events={} attempt={} delivered={}\n", i, text(page, at("sink")),
               printable(*state), page.real(at("seconds")).value_or(0), page.number(at("events")).value_or(0),
               page.number(at("attempt")).value_or(0), page.number(at("delivered")).value_or(0));
  }
}

}  // namespace

int status(const Arguments& arguments) {
  const Address admin = find_admin(arguments, "127.0.0.1:7071");
  HttpClient client(admin);
  Answer answer;
  if (client.ask("GET", "/status", {}, {}, answer) != HttpClient::Result::answered) {
    sluiced::host::complain({fmt::format("sluicectl: {}", client.error())});
    return kUnreachable;
  }
  const Json page(answer.body);
  const auto phase = page.text("/phase");
  if (answer.status != 200 || !phase) {
    sluiced::host::complain(
        {fmt::format("sluicectl: {} has no status of a sluiced to show (it answered {})", admin.shown, answer.status)});
    return kUnreachable;
  }
  if (arguments.json) {
    fmt::print("{}", printable_json(answer.body));
  } else {
    fmt::print("sluiced {} phase={} up={:.0f}s run={}\n", text(page, "/version"), printable(*phase),
               page.real("/uptime_seconds").value_or(0), text(page, "/run"));
    fmt::print("books:{}\n", members(page, "books", {"accepted", "delivered", "dead", "kept", "lost", "replayed"}));
    fmt::print("refused:{}\n", members(page, "refused", {"full", "too_large", "closed", "failed"}));
    fmt::print("queue:{}\n",
               members(page, "queue", {"events", "events_limit", "bytes", "bytes_limit", "in_flight", "retrying"}));
    if (const auto sink = page.text("/sink/state")) {
      fmt::print(
          "sink: {}{}\n", printable(*sink),
          *sink == "ok" ? "" : fmt::format(" since {}: {}", text(page, "/sink/since"), text(page, "/sink/reason")));
    }
    const std::string cause = printable(page.text("/journal/cause").value_or(""));
    fmt::print("journal:{}{}\n", members(page, "journal", {"bytes", "bytes_limit"}),
               cause.empty() ? "" : " failed: " + cause);
    fmt::print("http:{}\n", members(page, "http", {"connections", "answers_owed"}));
    print_workers(page);
  }
  return *phase == "running" ? kOk : kNo;
}

}  // namespace sluicectl
