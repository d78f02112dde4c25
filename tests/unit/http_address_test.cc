// Listen addresses: as they stand on the command line, and what listening on them does and refuses.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "http/server.h"
#include "http_house.h"
#include "http_support.h"
#include "sluice/error.h"

using namespace http_support;
using sluiced::http::Address;
using sluiced::http::parse_address;

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
  {
    // A dead process leaves its socket's file behind.
    const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    REQUIRE(::bind(dead, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    ::close(dead);
  }
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
  CHECK(kind_of({"192.0.2.1", 1, ""}) == sluice::StartError::Kind::unusable);
  CHECK(kind_of({"", 0, "/nowhere/at/all"}) == sluice::StartError::Kind::unusable);
}
