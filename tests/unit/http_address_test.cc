// Listen addresses as they stand on the command line.
#include <doctest/doctest.h>

#include <string>

#include "http/server.h"
#include "sluice/error.h"

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
