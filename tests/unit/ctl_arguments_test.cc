// sluicectl's command line and addresses as values.
#include <doctest/doctest.h>

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
        CHECK(sluicectl::default_state_dir({systemd, xdg, home}) == wanted);
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
  CHECK(url->address.port == "80");
  CHECK(url->target == "/in?x=1");
  CHECK(sluicectl::parse_url("http://127.0.0.1:7070/")->target == "/v1/events");
  CHECK_FALSE(sluicectl::parse_url("https://example.com"));
  CHECK_FALSE(sluicectl::parse_url("http://"));
  CHECK_FALSE(sluicectl::parse_url("http://h/a b"));
}
