// Listen addresses: as they stand on the command line, and what listening on them does and refuses.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "http/listener.h"
#include "http/server.h"
#include "http_house.h"
#include "http_support.h"
#include "sluice/error.h"
#include "support/temp_dir.h"

using namespace http_support;
using sluiced::http::Address;
using sluiced::http::Endpoint;
using sluiced::http::listen_on;
using sluiced::http::Listener;
using sluiced::http::parse_address;
using sluiced::http::resolve;

namespace {

std::vector<Endpoint> endpoints_of(const std::vector<std::string>& hosts) {
  std::vector<Endpoint> all;
  for (const std::string& host : hosts) all.push_back(resolve({host, 0, ""}).front());
  return all;
}

std::string port_in(const std::string& name) { return name.substr(name.rfind(':') + 1); }

// Whether somebody listens there.
bool answers(const std::string& host, const std::string& port) {
  const Endpoint at = resolve({host, static_cast<std::uint16_t>(std::stoi(port)), ""}).front();
  const int probe = ::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = ::connect(probe, reinterpret_cast<const sockaddr*>(&at.address), at.size) == 0;
  ::close(probe);
  return connected;
}

// The file that a dead process leaves of its socket.
void leave_dead_socket(const std::string& path) {
  const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  REQUIRE(::bind(dead, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  ::close(dead);
}

}  // namespace

TEST_CASE("address: the three kinds are understood") {
  const Address v4 = parse_address("127.0.0.1:7070");
  CHECK(v4.host == "127.0.0.1");
  CHECK(v4.port == 7070);
  CHECK(v4.path.empty());
  CHECK(parse_address("localhost:0").host == "localhost");
  const Address v6 = parse_address("[::1]:65535");
  CHECK(v6.host == "::1");
  CHECK(v6.port == 65535);
  CHECK(parse_address("unix:/run/sluice.sock").path == "/run/sluice.sock");
  CHECK(parse_address("unix:relative:1").path == "relative:1");
}

TEST_CASE("address: a wrong one is refused as usage, naming it and what is allowed") {
  for (const std::string text : {"", "localhost", ":7070", "host:", "host:x", "host:70000", "host:-1", "host: 1",
                                 "::1:7070", "[::1]", "[::1]7070", "[nonsense]:1", "a b:1", "http://x:1", "unix:"}) {
    CAPTURE(text);
    try {
      (void)parse_address(text);
      FAIL("not refused");
    } catch (const sluice::StartError& error) {
      const std::string what = error.what();
      CHECK(error.kind() == sluice::StartError::Kind::usage);
      CHECK(what.find("'" + text + "'") != std::string::npos);
      CHECK(what.find("HOST:PORT") != std::string::npos);
      CHECK(what.find('\n') == std::string::npos);
    }
  }
  CHECK_THROWS_AS((void)parse_address("unix:/" + std::string(200, 'x')), sluice::StartError);
}

TEST_CASE("http: a unix socket serves, is removed at the end, and is taken over from the dead, not from the living") {
  std::string folder = "/tmp/sluice-http-test-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/s";
  const auto on_path = [&](Config& config, sluice::Options&) { config.listen = {{"", 0, path}}; };
  leave_dead_socket(path);
  {
    House house(on_path);
    CHECK(house.address() == "unix:" + path);
    Client client(house.address());
    CHECK(client.ask(post("x")).status == 202);
    try {
      House second(on_path);
      FAIL("taken twice");
    } catch (const sluice::StartError& error) {
      CHECK(error.kind() == sluice::StartError::Kind::in_use);
      CHECK(std::string(error.what()) == "listen on unix:" + path + ": Address already in use");
    }
    CHECK(client.ask(post("x")).status == 202);
    house.server->drain(Clock::now() + 1s);
    CHECK(house.server->wait_drained(Clock::now() + kPatience));
  }
  CHECK(::access(path.c_str(), F_OK) != 0);
  // A file that is no socket is nobody's to remove.
  std::fclose(std::fopen(path.c_str(), "w"));
  CHECK_THROWS_AS(House{on_path}, sluice::StartError);
  CHECK(::access(path.c_str(), F_OK) == 0);
  ::unlink(path.c_str());
  ::rmdir(folder.c_str());
}

TEST_CASE("http: two that take a dead one's socket over at the same time do not both have it, one of them deaf") {
  const test::TempDir dir;
  const std::string path = (dir.path() / "s").string();
  leave_dead_socket(path);
  std::fclose(std::fopen((path + ".lock").c_str(), "w"));  // it was killed
  const Address address{"", 0, path};
  std::optional<Listener> first;
  first.emplace(address, [&] {
    // It is bound and does not listen yet, so it looks as dead as the one before.
    try {
      const sluiced::http::Listener second(address);
      FAIL_CHECK("taken over from one that is starting");
    } catch (const sluice::StartError& error) {
      CHECK(error.kind() == sluice::StartError::Kind::in_use);
    }
  });
  CHECK(Client("unix:" + path).connected());
  first.reset();
  CHECK(::access(path.c_str(), F_OK) != 0);
  CHECK(::access((path + ".lock").c_str(), F_OK) != 0);
  const sluiced::http::Listener next(address);
  CHECK(Client("unix:" + path).connected());
}

TEST_CASE("listen: what the kernel keeps for a client that does not read is bounded") {
  const auto bytes = [](const Listener& listener, const std::string& address) {
    const Client client(address);
    REQUIRE(client.connected());
    int fd = -1;
    REQUIRE(eventually([&] { return (fd = listener.accept(1U << 20U)) >= 0; }));
    int size = 0;
    socklen_t length = sizeof size;
    ::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length);
    ::close(fd);
    return size;
  };
  const std::vector<Listener> tcp = listen_on({{"127.0.0.1", 0, ""}}, {});
  CHECK(bytes(tcp.front(), tcp.front().name()) <= 256 << 10);
  const test::TempDir dir;
  const Listener file({"", 0, (dir.path() / "s").string()});
  CHECK(bytes(file, file.name()) <= 256 << 10);
}

TEST_CASE("http: a TCP address that is taken or cannot be had is refused by kind") {
  House house;
  const auto port = static_cast<std::uint16_t>(std::stoi(house.address().substr(house.address().rfind(':') + 1)));
  const auto kind_of = [](const sluiced::http::Address& address) {
    try {
      Config config;
      config.listen = {address};
      const Server server(config);
    } catch (const sluice::StartError& error) {
      return error.kind();
    }
    return sluice::StartError::Kind::io;
  };
  CHECK(kind_of({"127.0.0.1", port, ""}) == sluice::StartError::Kind::in_use);
  CHECK(kind_of({"192.0.2.1", 1, ""}) == sluice::StartError::Kind::unavailable);  // it may still come
  CHECK(kind_of({"nowhere.invalid", 1, ""}) == sluice::StartError::Kind::unavailable);
  CHECK(kind_of({"", 0, "/nowhere/at/all"}) == sluice::StartError::Kind::unusable);
}

TEST_CASE("listen: a name with two addresses is answered on both, with port 0 on the same one") {
  const std::vector<Listener> both = listen_on(endpoints_of({"::1", "127.0.0.1"}), "name:0", {});
  REQUIRE(both.size() == 2);
  const std::string port = port_in(both[0].name());
  CHECK(both[0].name() == "[::1]:" + port);
  CHECK(both[1].name() == "127.0.0.1:" + port);
  CHECK(answers("::1", port));
  CHECK(answers("127.0.0.1", port));
}

TEST_CASE("listen: a port that the kernel chose and another has on the second address is chosen anew, on both") {
  std::vector<Listener> other;
  std::string clash;
  const std::vector<Listener> both =
      listen_on(endpoints_of({"127.0.0.1", "127.0.0.2"}), "name:0", {}, false, [&](std::uint16_t port) {
        if (!other.empty()) return;
        clash = std::to_string(port);
        other = listen_on({{"127.0.0.2", port, ""}}, {});
      });
  REQUIRE(both.size() == 2);
  CHECK(port_in(both[0].name()) != clash);
  CHECK(port_in(both[0].name()) == port_in(both[1].name()));
  CHECK_FALSE(answers("127.0.0.1", clash));  // nothing is left of the first try
}

TEST_CASE("listen: of a name's addresses one that is not there yet is not passed over") {
  try {
    (void)listen_on(endpoints_of({"127.0.0.1", "192.0.2.1"}), "name:0", {});
    FAIL("started without an address that may come a moment later");
  } catch (const sluice::StartError& error) {
    CHECK(error.kind() == sluice::StartError::Kind::unavailable);
    CHECK(std::string(error.what()) == "listen on name:0: Cannot assign requested address");
  }
}

TEST_CASE("listen: [::] takes IPv4 as the system says, and leaves it to 0.0.0.0 where both are named") {
  std::ifstream setting("/proc/sys/net/ipv6/bindv6only");
  int ipv6_alone = 0;
  setting >> ipv6_alone;
  REQUIRE_FALSE(setting.fail());
  {
    const std::vector<Listener> all = listen_on({{"::", 0, ""}}, {});
    REQUIRE(all.size() == 1);
    CHECK(answers("::1", port_in(all[0].name())));
    const bool takes_ipv4 = ipv6_alone == 0;
    CHECK(answers("127.0.0.1", port_in(all[0].name())) == takes_ipv4);
  }
  std::vector<Listener> first = listen_on({{"::", 0, ""}}, {});
  const auto port = static_cast<std::uint16_t>(std::stoi(port_in(first[0].name())));
  first.clear();
  const std::vector<Listener> both = listen_on({{"::", port, ""}, {"0.0.0.0", port, ""}}, {});
  REQUIRE(both.size() == 2);
  CHECK(answers("::1", std::to_string(port)));
  CHECK(answers("127.0.0.1", std::to_string(port)));
}

TEST_CASE("listen: a unix socket has its mode and group whatever the umask, and is its owner's alone until then") {
  std::string folder = "/tmp/sluice-http-test-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  Address address{"", 0, folder + "/s"};
  address.mode = 0660;
  // Root may give it to any group, others to their own.
  const gid_t group = ::geteuid() == 0 ? 1 : ::getegid();
  address.group = std::to_string(group);
  const auto look = [&] {
    struct stat file {};
    CHECK(::stat(address.path.c_str(), &file) == 0);
    return file;
  };
  for (const mode_t umask : {0000U, 0077U, 0777U}) {
    const mode_t before = ::umask(umask);
    const Listener listener(address, [&] { CHECK((look().st_mode & 0177U) == 0); });
    ::umask(before);
    CHECK((look().st_mode & 0777U) == 0660);
    CHECK(look().st_gid == group);
  }
  address.group = "no-such-group";
  try {
    const Listener listener(address);
    FAIL("a group that does not exist");
  } catch (const sluice::StartError& error) {
    CHECK(error.kind() == sluice::StartError::Kind::unusable);
    CHECK(std::string(error.what()) == "listen on unix:" + address.path + ": group no-such-group: no such group");
  }
  CHECK(::access(address.path.c_str(), F_OK) != 0);
  ::rmdir(folder.c_str());
}
