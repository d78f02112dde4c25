// The guard refuses pages of other sites, by Sec-Fetch-Site and Origin, and rebound names, by Host.
#include "http/guard.h"

#include <doctest/doctest.h>

#include <string>

#include "http/known_head.h"
#include "http_house.h"

namespace {

using namespace http_support;
using sluiced::http::Head;
using sluiced::http::is_local;
using sluiced::http::why_forbidden;

const std::string kApp = "https://app.example";

Head head_of(const std::string& text) {
  Head head;
  REQUIRE(sluiced::http::parse_head(text, head).status == 0);
  return head;
}

// Whether a server lets in a GET with these fields.
bool lets_in(const std::string& fields, const Config& config) {
  const std::string text = "GET /healthz HTTP/1.1\r\n" + fields + "\r\n";
  return why_forbidden(head_of(text), config).empty();
}

// Both kinds of server, each with one origin and one host allowed.
Config intake() {
  Config config;
  config.submit = [](auto, const auto&) { return sluice::Submission(sluice::Admit::closed); };
  config.allowed_origins = {"http://other.example:8080", kApp};
  config.allowed_hosts = {"sluice.example"};
  return config;
}
Config admin() {
  Config config = intake();
  config.submit = {};
  config.checks_host = true;
  return config;
}

}  // namespace

TEST_CASE("guard: numbers and localhost are local, whatever the port; names and odd numbers are not") {
  for (const char* text : {"127.0.0.1", "127.0.0.1:7071", "192.0.2.7:80", "[::1]", "[::1]:7071", "[fe80::1]",
                           "localhost", "LocalHost:7071", "localhost:"}) {
    CAPTURE(text);
    CHECK(is_local(text));
  }
  for (const char* text : {"", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.1",
                           "0x7f.0.0.1", "127.0.0.1.", "::1", "[::1", "[]", "[localhost]", "[127.0.0.1]", "localhosts",
                           "1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234"}) {
    CAPTURE(text);
    CHECK_FALSE(is_local(text));
  }
}

TEST_CASE("guard: a page of another site is kept out by both servers") {
  for (const Config& config : {intake(), admin()}) {
    for (const char* fields :
         {"", "Sec-Fetch-Site: same-origin\r\n", "sec-fetch-site: None\r\n", "Origin: http://127.0.0.1:7071\r\n",
          "Origin: http://[::1]\r\n", "Origin: http://localhost:3000\r\n"}) {
      CAPTURE(fields);
      CHECK(lets_in("Host: localhost\r\n" + std::string(fields), config));
    }
    for (const char* fields :
         {"Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n", "SEC-FETCH-SITE: Cross-Site\r\n",
          "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
          "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Site: none\r\n", "Sec-Fetch-Site: new-kind\r\n",
          "Origin: https://evil.example\r\n", "Origin: null\r\n", "Origin:\r\n", "Origin: localhost\r\n",
          "Origin: http://localhost.evil.example\r\n", "Origin: https://app.example.evil.example\r\n",
          "Origin: https://app.example:8443\r\n", "Origin: http://app.example\r\n",
          "Origin: http://127.0.0.1:7071\r\nSec-Fetch-Site: cross-site\r\n"}) {
      CAPTURE(fields);
      CHECK_FALSE(lets_in("Host: localhost\r\n" + std::string(fields), config));
    }
  }
  CHECK(sluiced::http::place_of("https://APP.example", intake().allowed_origins) == 2);
}

TEST_CASE("guard: an allowed origin may send from its own site to the intake, and to the admin only from its own") {
  const std::string fields = "Host: localhost\r\nOrigin: " + kApp + "\r\n";
  CHECK(lets_in(fields + "Sec-Fetch-Site: cross-site\r\n", intake()));
  CHECK_FALSE(lets_in(fields + "Sec-Fetch-Site: cross-site\r\n", admin()));
  CHECK(lets_in(fields + "Sec-Fetch-Site: same-origin\r\n", admin()));
}

TEST_CASE("guard: the admin is asked by a number, localhost or an allowed name, the intake by any") {
  for (const char* host :
       {"evil.example", "evil.example:7071", "sluice.example.evil.example", "localhost.evil.example"}) {
    CAPTURE(host);
    CHECK(lets_in("Host: " + std::string(host) + "\r\n", intake()));
    CHECK_FALSE(lets_in("Host: " + std::string(host) + "\r\n", admin()));
  }
  for (const char* host : {"127.0.0.1:7071", "[::1]:1", "localhost", "Sluice.Example", "sluice.example:7071"}) {
    CAPTURE(host);
    CHECK(lets_in("Host: " + std::string(host) + "\r\n", admin()));
  }
  CHECK(why_forbidden(head_of("GET / HTTP/1.0\r\n\r\n"), admin()).empty());  // health checks have none
}

TEST_CASE("guard: two Origins are refused, and a head that came before is judged like the first") {
  Head head;
  CHECK(sluiced::http::parse_head("GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://localhost\r\nOrigin: null\r\n\r\n", head)
            .status == 400);
  const std::string cross = "GET / HTTP/1.1\r\nHost: evil.example\r\nSec-Fetch-Site: cross-site\r\n\r\n";
  sluiced::http::KnownHead known;
  known.keep(cross, head_of(cross));
  REQUIRE(known.match(cross) == cross.size());
  CHECK(known.head().cross_site);
  CHECK(known.head().host == "evil.example");
  const std::string page = "GET / HTTP/1.1\r\nHost: a\r\nOrigin: " + kApp + "\r\n\r\n";
  known.keep(page, head_of(page));
  CHECK(known.match(page) == 0);
}

TEST_CASE("guard: a page of an allowed origin may read every answer to it, and nobody else's says so") {
  const std::string longest = "https://" + std::string(240, 'a') + ".example:65535";
  House house([&](Config& config, sluice::Options&) { config.allowed_origins = {kApp, longest}; });
  Client client(house.address());
  const auto as = [](const std::string& origin) { return "Origin: " + origin + "\r\nSec-Fetch-Site: cross-site\r\n"; };
  for (const std::string& origin : {kApp, longest}) {
    const Answer taken = client.ask(post("1", "application/json", as(origin)));
    CHECK(taken.status == 202);
    CHECK(taken.has("Access-Control-Allow-Origin: " + origin));
    CHECK(taken.has("Vary: Origin"));
    CHECK(taken.has("Connection: keep-alive"));
    CHECK(taken.body.starts_with(R"({"accepted":1,)"));
    const Answer wrong = client.ask(post("{", "application/json", as(origin)));
    CHECK(wrong.status == 400);
    CHECK(wrong.has("Access-Control-Allow-Origin: " + origin));
  }
  // Only those: neither the next request on the same connection, nor one that is refused.
  CHECK(client.ask(post("2", "application/json")).head.find("Access-Control") == std::string::npos);
  const Answer refused = client.ask(post("3", "application/json", as("https://evil.example")));
  CHECK(refused.status == 403);
  CHECK(refused.head.find("Access-Control") == std::string::npos);

  const std::string asks = "OPTIONS /v1/events HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: POST\r\n";
  const Answer allowed = client.ask(asks + as(kApp) + "\r\n");
  CHECK(allowed.status == 204);
  CHECK(allowed.has("Access-Control-Allow-Origin: " + kApp));
  CHECK(allowed.has("Access-Control-Allow-Methods: POST"));
  CHECK(allowed.has("Access-Control-Allow-Headers: *"));
  CHECK(allowed.has("Allow: POST, OPTIONS"));
  CHECK(client.ask(asks + as("https://evil.example") + "\r\n").status == 403);
  CHECK(client.ask(asks + "\r\n").head.find("Access-Control") == std::string::npos);
  CHECK(house.server->counters().refused[static_cast<std::size_t>(sluiced::http::Refused::forbidden)] == 2);
  CHECK(house.delivered() == Strings{"1", "1", "2"});
}
