// sluicectl's HTTP client against servers that mean no good, and what it shows of them.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "ctl/http_client.h"
#include "ctl/post.h"
#include "ctl/printable.h"
#include "unit/ctl_server.h"

namespace {

using namespace std::chrono_literals;
using sluicectl::Answer;
using sluicectl::HttpClient;
using test::answer_of;
using test::Peer;
using test::Server;
using Result = HttpClient::Result;

Result get(HttpClient& client, Answer& answer) { return client.ask("GET", "/status", {}, {}, answer); }

}  // namespace

TEST_CASE("ctl: an answer without an end takes neither memory nor time without a bound") {
  std::atomic<std::size_t> sent{0};
  Server server([&](Peer& peer) {
    const std::string chunk = "10000\r\n" + std::string(65536, 'x') + "\r\n";
    if (peer.read_head().empty() || !peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")) return;
    while (sent < (std::size_t{1} << 30U) && peer.write(chunk)) sent += chunk.size();
  });
  HttpClient client(server.address());
  Answer answer;
  CHECK(get(client, answer) == Result::no_answer);
  CHECK(client.error().find("larger than 8 MiB") != std::string::npos);
  CHECK(sent < (std::size_t{16} << 20U));
}

TEST_CASE("ctl: a server that always promises an answer, or gives one byte by byte, is left at the limit") {
  struct Slow {
    std::string_view first, again;
  };
  for (const Slow& slow : {Slow{"", "HTTP/1.1 100 Continue\r\n\r\n"}, Slow{"HTTP/1.1 200 OK\r\nX: ", "x"},
                           Slow{"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x"}}) {
    CAPTURE(slow.again);
    Server server([&](Peer& peer) {
      if (peer.read_head().empty() || !peer.write(slow.first)) return;
      for (int i = 0; i < 2000 && peer.write(slow.again) && !peer.wait_closed(10ms); ++i) {
      }
    });
    HttpClient client(server.address(), 300ms);
    Answer answer;
    const auto began = std::chrono::steady_clock::now();
    CHECK(get(client, answer) == Result::no_answer);
    CHECK(std::chrono::steady_clock::now() - began < 5s);
  }
}

TEST_CASE("ctl: a request that broke on a kept connection is not sent a second time") {
  std::atomic<int> requests{0};
  Server server([&](Peer& peer) {
    while (!peer.read_head().empty()) {
      // The second one may have been taken, and gets no answer.
      if (++requests == 2 || !peer.write(answer_of(R"({"accepted":1})"))) return;
    }
  });
  HttpClient client(server.address());
  Answer answer;
  CHECK(client.ask("POST", "/v1/events", "application/json", "1", answer) == Result::answered);
  CHECK(answer.status == 202);
  CHECK(client.ask("POST", "/v1/events", "application/json", "2", answer) == Result::no_answer);
  CHECK(requests == 2);
  CHECK(client.ask("POST", "/v1/events", "application/json", "3", answer) == Result::answered);
  CHECK(requests == 3);
  CHECK(server.connections == 2);
}

TEST_CASE("ctl: an answer that counts other events than were sent is not taken for a yes") {
  for (const auto& [body, fate] : {std::pair(R"({"accepted":2})", sluicectl::Outcome::accepted),
                                   std::pair(R"({"accepted":0})", sluicectl::Outcome::unknown),
                                   std::pair(R"({"accepted":3})", sluicectl::Outcome::unknown)}) {
    Server server([body = body](Peer& peer) {
      if (!peer.read_head().empty()) static_cast<void>(peer.write(answer_of(body)));
    });
    sluicectl::Poster poster({server.address(), "/v1/events"}, 0ms);
    CHECK(poster.post("application/x-ndjson", "1\n2\n", 2) == fate);
    if (fate == sluicectl::Outcome::unknown) CHECK(poster.why().find(" of 2 events") != std::string::npos);
  }
}

TEST_CASE("ctl: a proxy of the environment is not asked") {
  const auto serve = [](Peer& peer) {
    if (!peer.read_head().empty()) static_cast<void>(peer.write(answer_of("{}")));
  };
  Server server(serve, AF_INET);  // nobody asks a proxy for a unix socket
  REQUIRE(::setenv("http_proxy", "http://127.0.0.1:1", 1) == 0);
  HttpClient client(server.address());
  Answer answer;
  CHECK(get(client, answer) == Result::answered);
  ::unsetenv("http_proxy");
}

TEST_CASE("ctl: what others say reaches a terminal without a control, a mark of direction or a broken byte") {
  using sluicectl::printable;
  using sluicectl::printable_json;
  using sluicectl::quoted;
  CHECK(printable("plain, and Zo\u00EB \U0001F600") == "plain, and Zo\u00EB \U0001F600");
  CHECK(printable("\x1B[2J\n\x7F") == "\\x1B[2J\\x0A\\x7F");
  CHECK(printable("\u009B31m") == "\\x9B31m");  // C1: a terminal's CSI in one code point
  CHECK(printable("a\u202Eb\u2066c\u200Fd\uFEFF") == "a\\u202Eb\\u2066c\\u200Fd\\uFEFF");
  CHECK(printable("\xFF\xC0\x80\xED\xA0\x80z") == "\\xFF\\xC0\\x80\\xED\\xA0\\x80z");
  CHECK(printable("\xE2\x80") == "\\xE2\\x80");  // cut off
  CHECK(quoted("a\"\\\x1B\u202E\xFF") == R"("a\"\\\u001b\u202e)"
                                         "\uFFFD\"");
  CHECK(printable_json("{\"a\":\"\u009B\u202E\"}\n") == "{\"a\":\"\\u009b\\u202e\"}\n");
}
