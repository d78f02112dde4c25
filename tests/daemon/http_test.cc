// HTTP by the byte: what is taken and how it is answered, and each way of being wrong: a clear answer, nothing taken,
// no growth.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <csignal>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::Client;
using test::Daemon;
using test::get;
using test::post;

constexpr const char* kJson = "application/json";
constexpr const char* kLines = "application/x-ndjson";

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// A POST with these header lines and this body, and nothing else.
std::string raw_post(std::string_view headers, std::string_view body = {}, std::string_view version = "HTTP/1.1") {
  return fmt::format("POST /v1/events {}\r\nHost: test\r\n{}\r\n{}", version, headers, body);
}

void check_problem(const Answer& answer, int status) {
  CHECK(answer.status == status);
  CHECK(answer.header("content-type") == "application/problem+json");
  CHECK_MESSAGE(answer.body.find(R"("title":")") != std::string::npos, answer.body);
  CHECK_MESSAGE(answer.body.find(R"("detail":")") != std::string::npos, answer.body);
}

// A way of being wrong.
struct Wrong {
  std::string what;
  std::string request;
  int status = 400;
  std::size_t line = 0;  // that the answer must name
};

std::vector<Wrong> wrong_bodies() {
  return {
      {"no JSON", post(kJson, "{\"a\":"), 400},
      {"an empty body as JSON", post(kJson, ""), 400},
      {"two JSON values", post(kJson, "1 2"), 400},
      {"text behind the JSON", post(kJson, "{} x"), 400},
      {"JSON that is not UTF-8", post(kJson, "\"\xff\""), 400},
      {"half a surrogate pair in UTF-8", post(kJson, "\"\xed\xa0\x80\""), 400},
      {"a raw control character in a string", post(kJson, "\"a\nb\""), 400},
      {"a leading zero", post(kJson, "01"), 400},
      {"JSON nested 1025 deep", post(kJson, repeated("[", 1025) + repeated("]", 1025)), 400},
      {"JSON nested 100000 deep", post(kJson, repeated("[", 100'000)), 400},
      {"objects nested 30000 deep", post(kJson, repeated("{\"a\":", 30'000)), 400},
      {"NDJSON with no JSON in line 3 of 5", post(kLines, "1\n2\n{\"a\"\n4\n5\n"), 400, 3},
      {"NDJSON with no UTF-8 in line 3 of 5", post(kLines, "1\n2\n\"\xc3(\"\n4\n5\n"), 400, 3},
      {"NDJSON with CRLF and no JSON in line 3 of 5", post(kLines, "1\r\n2\r\nnull,\r\n4\r\n5\r\n"), 400, 3},
      {"NDJSON with empty lines counted, wrong in line 4", post(kLines, "1\n\n\nx\n"), 400, 4},
      {"NDJSON with two values on line 2", post(kLines, "1\n2 3\n"), 400, 2},
      {"NDJSON with one value over two lines", post(kLines, "1\n{\"a\":\n1}\n"), 400, 2},
      {"NDJSON wrong in its last line, which has no end", post(kLines, "1\n2\n3\n4\n["), 400, 5},
      {"NDJSON nested 2000 deep in line 2", post(kLines, "1\n" + repeated("[", 2000) + "\n"), 400, 2},
      {"NDJSON without an event", post(kLines, ""), 400},
      {"NDJSON of empty lines", post(kLines, "\n\r\n\n"), 400},
      {"an event over the limit", post("text/plain", std::string(250'001, 'x')), 413},
      {"an event over the limit in line 2", post(kLines, "1\n\"" + std::string(250'000, 'x') + "\"\n"), 413},
      {"a body over the limit", post(kLines, repeated("1234567\n", 130'000)), 413},
      {"a length over the limit", raw_post("Content-Length: 1000000000000\r\n"), 413},
      {"more events than an empty queue takes", post(kLines, repeated("1\n", 2000)), 413},
      {"a body in a coding unknown here", post(kJson, "1", "Content-Encoding: br\r\n"), 415},
      {"a body that is not in its coding", post(kJson, "1234567890", "Content-Encoding: gzip\r\n"), 400},
  };
}

std::vector<Wrong> wrong_heads() {
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  return {
      {"no HTTP at all", "\x16\x03\x01 hello\r\n\r\n", 400},
      {"a request line of one word", "POST\r\n\r\n", 400},
      {"no version", "POST /v1/events\r\n\r\n", 400},
      {"a version that is none", raw_post("Content-Length: 1\r\n", "1", "HTTP/x.y"), 400},
      {"HTTP/2", raw_post("Content-Length: 1\r\n", "1", "HTTP/2.0"), 505},
      {"HTTP/3", raw_post("Content-Length: 1\r\n", "1", "HTTP/3.0"), 505},
      {"no Host", "POST /v1/events HTTP/1.1\r\nContent-Length: 1\r\n\r\n1", 400},
      {"two Hosts", "POST /v1/events HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\n\r\n1", 400},
      {"a space before the colon", raw_post("Content-Length : 1\r\n", "1"), 400},
      {"a folded line", raw_post("X: a\r\n b\r\nContent-Length: 1\r\n", "1"), 400},
      {"a header without a name", raw_post(": x\r\nContent-Length: 1\r\n", "1"), 400},
      {"no length", raw_post(""), 411},
      {"a length that is no number", raw_post("Content-Length: one\r\n", "1"), 400},
      {"a negative length", raw_post("Content-Length: -1\r\n", "1"), 400},
      {"a length with a sign", raw_post("Content-Length: +1\r\n", "1"), 400},
      {"a length over 64 bits", raw_post("Content-Length: 99999999999999999999999\r\n", "1"), 400},
      {"two lengths", raw_post("Content-Length: 1\r\nContent-Length: 2\r\n", "12"), 400},
      {"a list of lengths", raw_post("Content-Length: 1, 2\r\n", "12"), 400},
      {"a length and chunks", raw_post("Content-Length: 6\r\n" + chunked, "0\r\n\r\nX"), 400},
      {"a transfer coding unknown here", raw_post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400},
      {"chunked, but not last", raw_post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 400},
      {"chunked twice", raw_post(chunked + chunked, "0\r\n\r\n"), 400},
      {"chunks in HTTP/1.0", raw_post(chunked, "1\r\n1\r\n0\r\n\r\n", "HTTP/1.0"), 400},
      {"a chunk size that is no number", raw_post(chunked, "x\r\n1\r\n0\r\n\r\n"), 400},
      {"a chunk size over 64 bits", raw_post(chunked, "fffffffffffffffff\r\n1\r\n0\r\n\r\n"), 400},
      {"a chunk longer than it said", raw_post(chunked, "1\r\n12\r\n0\r\n\r\n"), 400},
      {"chunks over the limit", raw_post(chunked, "100000\r\n" + std::string(0x100000, 'x') + "\r\n0\r\n\r\n"), 413},
      {"a target over the limit", "GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\nHost: test\r\n\r\n", 414},
      {"a header over the limit", raw_post("X: " + std::string(17'000, 'x') + "\r\nContent-Length: 1\r\n", "1"), 431},
      {"headers over the limit", raw_post(repeated("X: 0123456789\r\n", 1200) + "Content-Length: 1\r\n", "1"), 431},
  };
}

const test::Flags kLimits{"--max-event-bytes", "250000", "--max-request-bytes", "1000000",
                          "--queue-events",    "1000",   "--overflow",          "reject"};

// Asks, on a connection of its own, and looks at the answer.
void check_wrong(const Daemon& daemon, const Wrong& wrong) {
  INFO(wrong.what);
  Client client(daemon.address());
  const Answer answer = client.ask(wrong.request);
  check_problem(answer, wrong.status);
  if (wrong.line != 0) {
    const std::string line = fmt::format("\"line\":{}}}", wrong.line);
    CHECK_MESSAGE(answer.body.find(line) != std::string::npos, answer.body);
  }
}

}  // namespace

TEST_SUITE("daemon.http") {
  TEST_CASE("http: a single JSON event, a batch of lines and an opaque body are taken, answered and delivered") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"--sink", "file:" + file.string(), "--workers", "1"});
    Client client(daemon.address());

    const Answer one =
        client.ask(post("application/json; charset=utf-8", "{\"a\":\r\n [1, 1e999, 123456789012345678901234567890]}"));
    CHECK(one.status == 202);
    CHECK(one.header("content-type") == "application/json");
    CHECK(one.body.starts_with(R"({"accepted":1,"first":")"));
    CHECK(one.body.find("-1\",\"last\":\"") != std::string::npos);
    CHECK(one.body.ends_with("-1\"}"));

    const Answer batch = client.ask(post(kLines, "\r\n{\"b\":1}\r\n\n2\n\"drei\""));
    CHECK(batch.body.starts_with(R"({"accepted":3,"first":")"));
    CHECK(batch.body.find("-2\",") != std::string::npos);
    CHECK(batch.body.ends_with("-4\"}"));

    CHECK(client.ask(post("text/plain", "plain \"text\"")).status == 202);
    CHECK(client.ask(post("application/octet-stream", std::string("\0\xff", 2))).status == 202);
    CHECK(client.ask(raw_post("Content-Length: 2\r\n", "ab")).status == 202);  // no type at all

    CHECK(daemon.stop().code == 0);
    const auto lines = test::lines_of(file);
    REQUIRE(lines.size() == 7);
    CHECK_MESSAGE(lines[0].ends_with("\"data\":{\"a\":   [1, 1e999, 123456789012345678901234567890]}}"), lines[0]);
    CHECK_MESSAGE(lines[1].ends_with(R"("data":{"b":1}})"), lines[1]);
    CHECK_MESSAGE(lines[2].ends_with(R"("data":2})"), lines[2]);
    CHECK_MESSAGE(lines[3].ends_with(R"("data":"drei"})"), lines[3]);
    CHECK_MESSAGE(lines[4].ends_with(R"("datacontenttype":"text/plain","data":"plain \"text\""})"), lines[4]);
    CHECK_MESSAGE(lines[5].ends_with(R"("data_base64":"AP8="})"), lines[5]);
    CHECK_MESSAGE(lines[6].ends_with(R"("data_base64":"YWI="})"), lines[6]);
  }

  TEST_CASE("http: each wrong body is answered, by line where it has lines, and nothing of it is taken") {
    Daemon daemon(kLimits);
    for (const Wrong& wrong : wrong_bodies()) check_wrong(daemon, wrong);
    CHECK(test::ask_once(daemon.address(), post(kJson, "1")).status == 202);
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 1);
  }

  TEST_CASE("http: each wrong head and length is answered, its connection closed, and nothing of it is taken") {
    Daemon daemon(kLimits);
    for (const Wrong& wrong : wrong_heads()) {
      check_wrong(daemon, wrong);
      INFO(wrong.what);
      Client client(daemon.address());
      CHECK(client.ask(wrong.request + get("/healthz")).status == wrong.status);
      if (wrong.status == 400) {  // what follows cannot be known to be a request
        CHECK(client.wait_closed());
        CHECK_FALSE(client.was_reset());
      }
    }
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 0);
  }

  TEST_CASE("http: a connection whose body was wrong, but whole, lives on") {
    Daemon daemon(kLimits);
    Client client(daemon.address());
    CHECK(client.ask(post(kJson, "{")).status == 400);
    CHECK(client.ask(post(kJson, "1")).status == 202);
    CHECK(client.ask(get("/nowhere")).status == 404);
    CHECK(client.ask(post(kJson, "2")).status == 202);
    CHECK(daemon.stop().report->accepted == 2);
  }

  TEST_CASE("http: JSON nested 1024 deep is taken") {
    Daemon daemon;
    CHECK(test::ask_once(daemon.address(), post(kJson, repeated("[", 1024) + repeated("]", 1024))).status == 202);
  }

  TEST_CASE("http: other paths and methods are answered 404 and 405") {
    Daemon daemon;
    check_problem(test::ask_once(daemon.address(), get("/")), 404);
    check_problem(test::ask_once(daemon.address(), "POST /v1/event HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n1"),
                  404);
    const Answer events = test::ask_once(daemon.address(), get("/v1/events"));
    check_problem(events, 405);
    CHECK(events.header("allow") == "POST, OPTIONS");
    const Answer health =
        test::ask_once(daemon.address(), "POST /healthz HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n1");
    check_problem(health, 405);
    CHECK(health.header("allow").find("GET") != std::string::npos);
    CHECK(test::ask_once(daemon.address(), get("/healthz")).status == 200);
    CHECK(test::ask_once(daemon.address(), get("/readyz")).status == 200);
    CHECK(test::ask_once(daemon.admin(), get("/healthz")).status == 200);
    CHECK(test::ask_once(daemon.admin(), get("/readyz")).status == 200);
    CHECK(test::ask_once(daemon.admin(), get("/status")).status == 200);
    CHECK(test::ask_once(daemon.address(), get("/status")).status == 404);
    CHECK(test::ask_once(daemon.admin(), post(kJson, "1")).status == 404);
  }

  TEST_CASE("http: bad input, two hundred times over, leaves the memory where it was") {
    Daemon daemon(kLimits);
    std::vector<Wrong> all = wrong_bodies();
    for (Wrong& head : wrong_heads()) all.push_back(std::move(head));
    const auto send_all = [&](int times) {
      for (int i = 0; i < times; ++i) {
        for (const Wrong& wrong : all) {
          if (test::ask_once(daemon.address(), wrong.request).status != wrong.status) FAIL_CHECK(wrong.what);
        }
      }
    };
    send_all(10);
    const std::size_t before = daemon.process().resident();
    send_all(200);
    const std::size_t after = daemon.process().resident();
    MESSAGE("resident before ", before, ", after ", after);
    CHECK(after <= before + (std::size_t{4} << 20U));
    CHECK(daemon.stop().report->accepted == 0);
  }

  TEST_CASE("http: a body shorter than its length is not taken, whether its client leaves or only stops sending") {
    Daemon daemon({"--request-timeout", "300ms"});
    const std::string request = raw_post("Content-Type: application/json\r\nContent-Length: 10\r\n", "12345");
    {
      Client leaves(daemon.address());
      leaves.send(request);
    }
    Client half_closes(daemon.address());
    half_closes.send(request);
    half_closes.finish_sending();
    const auto answer = half_closes.read_answer();
    if (answer) CHECK(answer->status == 400);
    CHECK(half_closes.wait_closed());
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    CHECK(ended.report->accepted == 0);
  }

  TEST_CASE("http: a client without progress is answered 408 in mid-request, and closed in silence between requests") {
    Daemon daemon({"--request-timeout", "300ms", "--idle-timeout", "300ms"});
    for (const std::string half :
         {"POST /v1/ev", "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nx"}) {
      INFO(half);
      Client client(daemon.address());
      client.send(half);
      const auto answer = client.read_answer(3s);
      REQUIRE(answer);
      check_problem(*answer, 408);
      CHECK(client.wait_closed(3s));
      CHECK_FALSE(client.was_reset());
    }
    Client silent(daemon.address());
    CHECK(silent.wait_closed(3s));
    Client idle(daemon.address());
    CHECK(idle.ask(post(kJson, "1")).status == 202);
    CHECK(idle.wait_closed(3s));
    CHECK(daemon.stop().report->accepted == 1);
  }

  TEST_CASE("http: between requests a client has longer than within one, and every answer says how long") {
    Daemon daemon({"--request-timeout", "100ms"});
    for (const std::string& address : {daemon.address(), daemon.admin()}) {
      INFO(address);
      Client silent(address);
      Client idle(address);
      CHECK(idle.ask(get("/healthz")).header("keep-alive") == "timeout=75");
      CHECK_FALSE(silent.wait_closed(500ms));
      CHECK_FALSE(idle.wait_closed(500ms));
      CHECK(idle.ask(get("/readyz")).status == 200);
      CHECK(silent.ask(get("/readyz")).status == 200);
    }
    Daemon other({"--idle-timeout", "3s"});
    CHECK(test::ask_once(other.address(), post(kJson, "1")).header("keep-alive") == "timeout=3");
    CHECK(other.stop().code == 0);
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("http: a request is read however it is cut") {
    Daemon daemon;
    Client client(daemon.address());
    for (const char byte : post(kLines, "1\n2\n")) REQUIRE(client.send({&byte, 1}));
    CHECK(client.read_answer().value_or(Answer{}).body.starts_with(R"({"accepted":2)"));
    const std::string chunks = raw_post("Transfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n",
                                        "1;x=y\r\n1\r\n3\r\n2\n3\r\n1\r\n4\r\n0\r\nTrailer: x\r\n\r\n");
    for (const char byte : chunks) REQUIRE(client.send({&byte, 1}));
    CHECK(client.read_answer().value_or(Answer{}).body.starts_with(R"({"accepted":2)"));  // 12 and 34
    CHECK(daemon.stop().report->accepted == 4);
  }

  TEST_CASE("http: pipelined requests are answered in their order") {
    Daemon daemon;
    Client client(daemon.address());
    std::string all;
    for (int i = 0; i < 100; ++i) {
      all += post(kLines, repeated("1\n", static_cast<std::size_t>(i % 7 + 1)));
      if (i % 10 == 9) all += post(kJson, "{");
      if (i % 10 == 5) all += get("/healthz");
    }
    REQUIRE(client.send(all));
    for (int i = 0; i < 100; ++i) {
      const auto answer = client.read_answer();
      REQUIRE(answer);
      CHECK(answer->body.starts_with(fmt::format(R"({{"accepted":{},)", i % 7 + 1)));
      if (i % 10 == 9) CHECK(client.read_answer().value_or(Answer{}).status == 400);
      if (i % 10 == 5) CHECK(client.read_answer().value_or(Answer{}).status == 200);
    }
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("http: who expects a 100 gets it before the body, or the refusal instead of it") {
    Daemon daemon(kLimits);
    Client client(daemon.address());
    client.send(raw_post("Content-Type: application/json\r\nContent-Length: 1\r\nExpect: 100-continue\r\n"));
    CHECK(client.read_answer().value_or(Answer{}).status == 100);
    CHECK(client.ask("1").status == 202);
    Client refused(daemon.address());
    CHECK(refused.ask(raw_post("Content-Length: 1000001\r\nExpect: 100-continue\r\n")).status == 413);
  }

  TEST_CASE("http: HTTP/1.0 and `Connection: close` end the connection behind the answer") {
    Daemon daemon;
    Client old(daemon.address());
    CHECK(old.ask("POST /v1/events HTTP/1.0\r\nContent-Length: 1\r\n\r\n1").status == 202);
    CHECK(old.wait_closed(3s));
    Client polite(daemon.address());
    CHECK(polite.ask(post(kJson, "1", "Connection: close\r\n")).status == 202);
    CHECK(polite.wait_closed(3s));
    CHECK_FALSE(polite.was_reset());
    CHECK(daemon.stop().report->accepted == 2);
  }

  TEST_CASE("http: an early refusal reaches a client that is still sending") {
    Daemon daemon(kLimits);
    for (int i = 0; i < 20; ++i) {
      Client client(daemon.address());
      client.send(raw_post("Content-Length: 5000000\r\n"));
      client.send(std::string(1'000'000, 'x'));
      CHECK(client.read_answer().value_or(Answer{}).status == 413);
      CHECK(client.wait_closed());
      CHECK_FALSE(client.was_reset());
    }
    CHECK(daemon.stop().report->accepted == 0);
  }

  TEST_CASE(
      "http: it listens on several addresses, IPv6 and unix sockets among them, and takes over a dead one's socket") {
    const test::TempDir dir;
    const std::string path = "unix:" + (dir.path() / "socket").string();
    const test::Flags flags{"--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", path};
    {
      Daemon killed(flags);
      killed.signal_stop(SIGKILL);
      CHECK(killed.wait_end().code == 128 + SIGKILL);
    }
    Daemon daemon(flags);
    CHECK(daemon.address(2) == path);
    for (std::size_t i = 0; i < 3; ++i) {
      INFO(daemon.address(i));
      CHECK(test::ask_once(daemon.address(i), post(kJson, "1")).status == 202);
    }
    CHECK(test::run_to_end({"--listen", path, "--admin", "none", "--state-dir", "none", "--sink", "null:"}).code == 69);
    CHECK(daemon.stop().report->accepted == 3);
  }

  TEST_CASE(
      "http: with --max-connections reached the client that is idle for longest goes, and the newcomer is served") {
    for (const bool several : {false, true}) {
      Daemon daemon({"--max-connections", "10", "--io-threads", several ? "2" : "1"});
      std::deque<Client> clients;
      for (int i = 0; i < 10; ++i) {
        clients.emplace_back(daemon.address());
        CHECK(clients.back().ask(post(kJson, "1")).status == 202);
      }
      if (!several) {
        std::this_thread::sleep_for(250ms);  // for longer than the daemon's order of the idle ones is exact to
        CHECK(clients[0].ask(post(kJson, "2")).status == 202);
      }
      Client newcomer(daemon.address());
      CHECK(newcomer.ask(post(kJson, "3")).status == 202);
      CHECK(clients[several ? 0 : 1].wait_closed());
      CHECK_FALSE(clients[several ? 0 : 1].was_reset());
      for (std::size_t i = 2; i < 10; ++i) CHECK(clients[i].ask(post(kJson, "4")).status == 202);
      CHECK(test::status_number(daemon.admin(), "connections") == 10);
      CHECK(daemon.stop().code == 0);
    }
  }

  TEST_CASE("http: idle clients, more than there may be, lock nobody out: not of the intake, nor of the status") {
    Daemon daemon({"--max-connections", "100"});
    std::deque<Client> idle;
    for (int i = 0; i < 300; ++i) idle.emplace_back(daemon.address());
    for (int i = 0; i < 200; ++i) idle.emplace_back(daemon.admin());
    for (int i = 0; i < 20; ++i) {
      CHECK(test::ask_once(daemon.address(), post(kJson, "1")).status == 202);
      CHECK(test::ask_once(daemon.address(), get("/readyz")).status == 200);
      CHECK(test::ask_once(daemon.admin(), get("/status")).status == 200);
      CHECK(test::ask_once(daemon.admin(), get("/metrics")).status == 200);
    }
    CHECK(test::status_number(daemon.admin(), "connections") <= 100);
    CHECK(daemon.stop().report->accepted == 20);
  }

  TEST_CASE("http: where every client is busy a newcomer may ask how the daemon is, and is told 503 of events") {
    Daemon daemon({"--max-connections", "3", "--request-timeout", "60s"});
    std::deque<Client> busy;
    for (int i = 0; i < 3; ++i) busy.emplace_back(daemon.address()).send("POST /v1/events HTTP/1.1\r\nHost: a\r\nCon");
    REQUIRE(test::wait_status_number(daemon.admin(), "answers_owed", 3, 10s));
    Client silent(daemon.address());
    for (const char* path : {"/readyz", "/healthz"}) {
      Client health(daemon.address());
      const Answer answer = health.ask(get(path));
      CHECK(answer.status == 200);
      CHECK(answer.header("connection") == "close");
      CHECK(health.wait_closed());
    }
    Client posts(daemon.address());
    const Answer refused = posts.ask(post(kJson, "1"));
    check_problem(refused, 503);
    CHECK(refused.header("connection") == "close");
    CHECK(refused.body.find("too many connections") != std::string::npos);
    CHECK(posts.wait_closed());
    // One that says nothing is not waited for as long as others are.
    const auto told = silent.read_answer();
    REQUIRE(told);
    CHECK(told->status == 503);
    for (Client& client : busy) CHECK(client.ask("tent-Length: 1\r\n\r\n1").status == 202);
    CHECK(daemon.stop().report->accepted == 3);
  }

  TEST_CASE("http: no address has more than --max-connections-per-client, and others are served meanwhile") {
    const test::TempDir dir;
    Daemon daemon({"--max-connections-per-client", "3", "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen",
                   "unix:" + (dir.path() / "s").string()});
    {
      std::deque<Client> clients;
      for (int i = 0; i < 3; ++i) CHECK(clients.emplace_back(daemon.address(0)).ask(post(kJson, "1")).status == 202);
      for (int i = 0; i < 3; ++i) {
        Client refused(daemon.address(0));
        const auto answer = refused.read_answer();
        REQUIRE(answer);
        check_problem(*answer, 503);
        CHECK(answer->body.find("from one address") != std::string::npos);
      }
      for (int i = 0; i < 3; ++i) CHECK(clients.emplace_back(daemon.address(1)).ask(post(kJson, "1")).status == 202);
      for (int i = 0; i < 9; ++i) CHECK(clients.emplace_back(daemon.address(2)).ask(post(kJson, "1")).status == 202);
      for (Client& client : clients) CHECK(client.ask(post(kJson, "1")).status == 202);
    }
    CHECK(test::wait_status_number(daemon.admin(), "connections", 0, 10s));
    std::deque<Client> again;
    for (int i = 0; i < 3; ++i) CHECK(again.emplace_back(daemon.address(0)).ask(post(kJson, "1")).status == 202);
    CHECK(daemon.stop().code == 0);
  }
}
