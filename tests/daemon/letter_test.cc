// HTTP to the letter, at the real daemon: a sample of the table that the unit tests go through (http_letter_test.cc),
// judged by what the daemon accepted and what came out of its sink.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/peer.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::Client;
using test::Daemon;
using test::get;
using test::post;

const std::string kHead = "POST /v1/events HTTP/1.1\r\nHost: test\r\n";
const std::string kChunked = "Transfer-Encoding: chunked\r\n";

// A file sink, and the daemon before it.
struct Sunk {
  Sunk() : daemon({"--sink", "file:" + file().string() + "?format=raw", "--workers", "1"}) {}

  [[nodiscard]] std::filesystem::path file() const { return dir.path() / "events"; }

  test::TempDir dir;
  Daemon daemon;
};

struct Sample {
  std::string what, request;
  std::vector<int> answers;
  bool goes_on = true;
  std::vector<std::string> taken = {};
};

std::vector<Sample> samples() {
  return {
      {"a length", post("text/plain", "one"), {202}, true, {"one"}},
      {"chunks", kHead + kChunked + "\r\n3;x=\"y\"\r\ntwo\r\n0\r\nTrailer: x\r\n\r\n", {202}, true, {"two"}},
      {"a 100", kHead + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nthree", {202}, true, {"three"}},
      {"lines", post("application/x-ndjson", "1\r\n\n2"), {202}, true, {"1", "2"}},
      {"two, and an end",
       post("text/plain", "a") + post("text/plain", "b", "Connection: x, close\r\n"),
       {202, 202},
       false,
       {"a", "b"}},
      {"HTTP/1.0", "POST /v1/events HTTP/1.0\r\nContent-Length: 3\r\n\r\nold", {202}, false, {"old"}},
      {"a proxy's form",
       "POST http://a/v1/events?x HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nproxy",
       {202},
       true,
       {"proxy"}},
      {"no JSON", post("application/json", "{"), {400}, true},
      {"an expectation", kHead + "Expect: more\r\nContent-Length: 1\r\n\r\nx", {417}, true},
      {"two lengths", kHead + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", {400}, false},
      {"a bare LF", kHead + "X: y\nContent-Length: 1\r\n\r\nx", {400}, false},
      {"a chunk that is none", kHead + kChunked + "\r\n3\r\nabcd\r\n0\r\n\r\n", {400}, false},
  };
}

// All final answers, until the connection ends as it should; 100s are left out.
std::vector<int> statuses_of(Client& client) {
  std::vector<int> statuses;
  while (const auto answer = client.read_answer()) {
    if (answer->status != 100) statuses.push_back(answer->status);
  }
  CHECK(client.wait_closed(0ms));
  CHECK_FALSE(client.was_reset());
  return statuses;
}

}  // namespace

TEST_SUITE("daemon.letter") {
  TEST_CASE("letter: behind a request whose framing is in doubt nothing is taken, whatever it looks like") {
    Sunk it;
    const std::string inner = post("text/plain", "smuggled");
    const std::string nul(1, '\0');
    const std::string behind_chunks = "0\r\n\r\n" + inner;
    const std::vector<std::pair<std::string, std::string>> doubtful = {
        {"Content-Length: 5\r\n" + kChunked, behind_chunks},
        {kChunked + "Content-Length: 5\r\n", behind_chunks},
        {"Content-Length: 0\r\nContent-Length: 80\r\n", inner},
        {"Content-Length: 0\r\nContent-Length: 0\r\n", inner},
        {"Content-Length: 0, 80\r\n", inner},
        {"Content-Length: +0\r\n", inner},
        {"Content-Length: -1\r\n", inner},
        {"Content-Length: 18446744073709551616\r\n", inner},
        {"Content-Length : 0\r\n", inner},
        {"Content-Length: 0\n", inner},
        {"X: y\rContent-Length: 0\r\n", inner},
        {"X: y\r\n Content-Length: 0\r\n", inner},
        {"X: " + nul + "\r\nContent-Length: 0\r\n", inner},
        {"Host: other\r\nContent-Length: 0\r\n", inner},
        {"Transfer-Encoding: chunked, identity\r\n", behind_chunks},
        {"Transfer-Encoding: \vchunked\r\n", behind_chunks},
        {kChunked, "0\r\n\n" + inner},
        {kChunked, "0;a=\"\n\"\r\n\r\n" + inner},
        {kChunked, "10000000000000000\r\n\r\n" + inner},
        {kChunked, "0\r\nX: y\r\n z\r\n\r\n" + inner},
    };
    for (const auto& [fields, body] : doubtful) {
      INFO(fields, body.substr(0, 20));
      Client client(it.daemon.address());
      REQUIRE(client.send(kHead + fields + "\r\n" + body + inner));
      CHECK(statuses_of(client) == std::vector<int>{400});
    }
    const test::Ended ended = it.daemon.stop();
    CHECK(ended.code == 0);
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 0);
    CHECK(test::text_of(it.file()).empty());
  }

  TEST_CASE("letter: a request in two parts, wherever it is cut, is answered and taken as in one") {
    Sunk it;
    const std::string last = "GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    std::string expected;
    std::size_t events = 0;
    for (const Sample& sample : samples()) {
      INFO(sample.what);
      std::vector<int> answers = sample.answers;
      if (sample.goes_on) answers.push_back(200);
      for (std::size_t cut = 0; cut < sample.request.size(); ++cut) {
        INFO("cut at ", cut);
        Client client(it.daemon.address());
        REQUIRE(client.send(sample.request.substr(0, cut)));
        REQUIRE(test::wait_peer_has_read(client.fd(), cut, 5s));
        REQUIRE(client.send(sample.request.substr(cut) + last));
        CHECK(statuses_of(client) == answers);
        for (const std::string& event : sample.taken) expected += event + "\n";
        events += sample.taken.size();
      }
    }
    const test::Ended ended = it.daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == events);
    CHECK(test::text_of(it.file()) == expected);
  }

  TEST_CASE("letter: HEAD is answered like GET without a body, OPTIONS with what is allowed, and all with a Date") {
    const Daemon daemon;
    Client client(daemon.address());
    const Answer page = client.ask(get("/healthz"));
    CHECK(page.status == 200);
    CHECK_FALSE(page.body.empty());
    CHECK(page.header("date").ends_with(" GMT"));

    // With a body in it, the next answer would not begin where it does.
    REQUIRE(client.send("HEAD /healthz HTTP/1.1\r\nHost: test\r\n\r\n"));
    const auto head = client.read_head();
    REQUIRE(head);
    CHECK(head->status == 200);
    CHECK(head->header("content-length") == page.header("content-length"));
    CHECK(head->header("date").ends_with(" GMT"));

    const Answer options = client.ask("OPTIONS /v1/events HTTP/1.1\r\nHost: test\r\n\r\n");
    CHECK(options.status == 204);
    CHECK(options.header("allow") == "POST, OPTIONS");
    CHECK(options.header("date").ends_with(" GMT"));
  }
}
