// sluicectl's command line and addresses as values.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ctl/arguments.h"
#include "options/options.h"

namespace {

using namespace std::chrono_literals;
using sluicectl::Arguments;
using sluicectl::Command;

const sluicectl::Environment kWorld{.state_directory = {}, .xdg_state_home = {}, .home = "/home/ann"};

Arguments accept(std::initializer_list<const char*> args) {
  const std::vector<const char*> words(args);
  const auto parsed = sluicectl::parse(words, kWorld);
  if (const auto* exit = std::get_if<sluicectl::Exit>(&parsed)) FAIL(exit->text);
  return std::get<Arguments>(parsed);
}

}  // namespace

TEST_CASE("ctl: flags stand anywhere and mean the same with a space and with an equals sign") {
  const Arguments arguments = accept({"--retry-for=2min", "send", "--batch", "7", "x.ndjson", "--to", "[::1]:80"});
  CHECK(arguments.command == Command::send);
  CHECK(arguments.file == "x.ndjson");
  CHECK(arguments.batch == 7);
  CHECK(arguments.retry_for == 2min);
  CHECK(arguments.to.address.host == "::1");
  CHECK(arguments.to.target == "/v1/events");
  CHECK(accept({"send", "-"}).file == "-");
  CHECK(accept({"journal", "replay-to", "h:1"}).batch == 10'000);
  CHECK(accept({"journal", "replay-to", "h:1"}).place.empty());
  const Arguments replay = accept({"journal", "--batch=1", "replay-to", "--place", "p", "h:1"});
  CHECK(replay.batch == 1);
  CHECK(replay.place == "p");
  CHECK(accept({"dead-letter", "drop", "--all"}).limit == std::nullopt);
  CHECK(accept({"dead-letter", "drop", "--limit", "3"}).limit == 3);
}

TEST_CASE("ctl: the state directory is the one that sluiced takes, whatever the environment") {
  for (const char* systemd : {"", "/var/lib/a", "/var/lib/a:/var/lib/b"}) {
    for (const char* xdg : {"", "/xdg", "relative"}) {
      for (const char* home : {"", "/home/ann"}) {
        const std::vector<const char*> words{"--sink", "null:"};
        const auto daemon = sluiced::options::parse(
            words, {.state_directory = systemd, .xdg_state_home = xdg, .home = home, .cpus = 1});
        const auto* options = std::get_if<sluiced::options::Options>(&daemon);
        const std::filesystem::path wanted = options != nullptr ? options->state_dir.value() : "";
        const std::vector<const char*> ls{"journal", "ls"};
        const auto ctl = sluicectl::parse(ls, {.state_directory = systemd, .xdg_state_home = xdg, .home = home});
        const auto* arguments = std::get_if<Arguments>(&ctl);
        const std::filesystem::path taken = arguments != nullptr ? arguments->state_dir : "";
        CHECK(taken == wanted);
      }
    }
  }
}

TEST_CASE("ctl: the admin is looked for where sluiced puts its socket, unless it or a state directory is named") {
  const auto paths = [](const Arguments& arguments) {
    std::vector<std::string> all;
    for (const auto& socket : arguments.admin_sockets) all.push_back(socket.path);
    return all;
  };
  using Paths = std::vector<std::string>;
  CHECK(paths(accept({"status"})) == Paths{"/home/ann/.local/state/sluice/admin.sock", "/run/sluiced/admin.sock"});
  CHECK_FALSE(accept({"status"}).admin);
  CHECK(paths(accept({"dead-letter", "requeue", "-d", "/d"})) == Paths{"/d/admin.sock"});
  CHECK(accept({"status", "--admin", "unix:/x"}).admin->path == "/x");
  const std::string deep = '/' + std::string(200, 'd');  // no socket's address has room for it
  const std::vector<const char*> too_deep{"status", "--state-dir", deep.c_str()};
  const auto refused = sluicectl::parse(too_deep, kWorld);
  REQUIRE(std::holds_alternative<sluicectl::Exit>(refused));
  CHECK(std::get<sluicectl::Exit>(refused).text.find("too long for a socket in it") != std::string::npos);
  const std::vector<const char*> words{"status"};
  const auto service = sluicectl::parse(
      words, {.state_directory = "/s", .xdg_state_home = {}, .home = {}, .runtime_directory = "/r:/q"});
  CHECK(paths(std::get<Arguments>(service)) == Paths{"/r/admin.sock", "/s/admin.sock", "/run/sluiced/admin.sock"});
}

TEST_CASE("ctl: addresses and URLs that are none are told from those that are") {
  for (const char* text : {"", "7070", "host", "host:", "host:x", "host:70000", ":7070", "::1:80", "unix:", "a b:1"}) {
    INFO(text);
    CHECK_FALSE(sluicectl::parse_address(text));
  }
  CHECK(sluicectl::parse_address("unix:/run/x.sock")->path == "/run/x.sock");
  const auto url = sluicectl::parse_url("http://example.com/in?x=1");
  REQUIRE(url);
  CHECK(url->address.host == "example.com");
  CHECK(url->address.port == 80);
  CHECK(url->target == "/in?x=1");
  CHECK(sluicectl::parse_url("http://127.0.0.1:7070/")->target == "/v1/events");
  CHECK_FALSE(sluicectl::parse_url("https://example.com"));
  CHECK_FALSE(sluicectl::parse_url("http://"));
  CHECK_FALSE(sluicectl::parse_url("http://h/a b"));
}

TEST_CASE("ctl: flags and their values are read by the rules of sluiced, and what is wrong is named on one line") {
  const auto refuse = [](std::initializer_list<const char*> args) -> std::string {
    const std::vector<const char*> words(args);
    const auto parsed = sluicectl::parse(words, kWorld);
    const auto* const exit = std::get_if<sluicectl::Exit>(&parsed);
    REQUIRE(exit != nullptr);
    CHECK(exit->code == sluicectl::kUsage);
    CHECK(std::count(exit->text.begin(), exit->text.end(), '\n') == 1);
    return exit->text;
  };
  CHECK(accept({"send", "-", "--retry-for", "1500us"}).retry_for == 1500us);
  CHECK(accept({"journal", "ls", "-d/x"}).state_dir == "/x");
  CHECK(refuse({"send", "-", "--batch", "0"}) == "sluicectl: --batch 0: allowed: an integer from 1 to 10000\n");
  CHECK(refuse({"send", "-", "--batch", "1x"}) == "sluicectl: --batch 1x: allowed: an integer from 1 to 10000\n");
  CHECK(refuse({"send", "-", "--retry-for", "25h"}) ==
        "sluicectl: --retry-for 25h: allowed: a duration from 0 to 24h: an integer with us ms s min h\n");
  CHECK(refuse({"status", "--batch", "1"}) == "sluicectl: --batch: not a flag of this command; allowed: see --help\n");
  CHECK(refuse({"status", "--nope"}) == "sluicectl: --nope: no such flag; allowed: see --help\n");
  CHECK(refuse({"status", "--json=yes"}).starts_with("sluicectl: --json yes: allowed: nothing"));
  CHECK(refuse({"status", "--admin"}) == "sluicectl: --admin: a value is missing; allowed: see --help\n");
  CHECK(refuse({"journal", "replay-to", "http://ann:secret@h"}).find("secret") == std::string::npos);
  CHECK(refuse({"send"}) == "sluicectl: send: FILE or - is missing\n");
  CHECK(refuse({"send", "a", "b\nc"}) == "sluicectl: 'b?c': one word too many; allowed: see --help\n");
}

TEST_CASE("ctl: --help fits a terminal and names every flag that a command takes") {
  const std::vector<const char*> words{"journal", "--help"};
  const auto help = std::get<sluicectl::Exit>(sluicectl::parse(words, kWorld));
  CHECK(help.code == sluicectl::kOk);
  for (const char* flag : {"--admin ADDR", "-d, --state-dir DIR", "--to ADDR", "--batch N", "--retry-for DUR",
                           "--place FILE", "--limit N", "--all", "--json", "-h, --help", "--version"}) {
    CHECK(help.text.find(flag) != std::string::npos);
  }
  std::string_view rest = help.text;
  for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    CHECK_MESSAGE(end <= 122, rest.substr(0, end));  // "…" is three bytes
    rest.remove_prefix(end + 1);
  }
}
