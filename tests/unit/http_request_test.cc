// Framing: where a head ends, what it says, what a chunked body holds, and what is refused because two readers could
// understand it differently. Also what stands beside it: NDJSON lines and the budget.
#include "http/request.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "http/budget.h"
#include "http/ndjson.h"

namespace {

using namespace sluiced::http;

struct Parsed {
  Head head;
  HeadFault fault;
  std::unique_ptr<ChunkReader> chunks;
};

Parsed parse(std::string_view text) {
  Parsed parsed;
  parsed.fault = parse_head(text, parsed.head, parsed.chunks);
  return parsed;
}

// A POST with these field lines, each with its line end.
std::string post(const std::string& fields, const std::string& version = "HTTP/1.1") {
  return "POST /v1/events " + version + "\r\n" + fields + "\r\n";
}

int status_of(const std::string& fields) { return parse(post("Host: a\r\n" + fields)).fault.status; }

}  // namespace

TEST_CASE("framing: a head ends at its empty line, however it arrives") {
  const std::string text = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nmore";
  const FoundHead whole = find_head(text, 0);
  CHECK(whole.state == FoundHead::State::whole);
  CHECK(text.substr(whole.size) == "more");
  std::size_t searched = 0;
  for (std::size_t size = 1; size < text.size() - 4; ++size) {
    const FoundHead found = find_head(text.substr(0, size), searched);
    REQUIRE(found.state == FoundHead::State::partial);
    searched = found.size;
  }
  CHECK(find_head(text, searched).size == whole.size);
}

TEST_CASE("framing: a bare line feed, a folded field and a first byte that is no HTTP are bad at once") {
  CHECK(find_head("GET / HTTP/1.1\n", 0).state == FoundHead::State::bad);
  CHECK(find_head("GET / HTTP/1.1\r\nHost: a\n\r\n", 0).state == FoundHead::State::bad);
  CHECK(find_head("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 0).state == FoundHead::State::bad);
  CHECK(find_head("\x16\x03\x01", 0).state == FoundHead::State::bad);
  CHECK(find_head(" GET", 0).state == FoundHead::State::bad);
}

TEST_CASE("framing: a head says what its fields say, in any case") {
  const std::string text =
      post("hOST: a:1\r\ncontent-LENGTH: 17\r\nContent-Type:  text/plain; x=y \r\nExpect: 100-Continue\r\n");
  const Parsed parsed = parse(text);
  REQUIRE(parsed.fault.status == 0);
  CHECK(parsed.head.method == "POST");
  CHECK(parsed.head.target == "/v1/events");
  CHECK(parsed.head.content_length == 17);
  CHECK(parsed.head.has_length);
  CHECK(parsed.head.content_type == "text/plain; x=y");
  CHECK(parsed.head.expects_continue);
  CHECK(parsed.head.keep_alive);
  CHECK_FALSE(parsed.head.http10);
}

TEST_CASE("framing: who stays open is said by version and Connection") {
  CHECK_FALSE(parse(post("Host: a\r\nConnection: close\r\n")).head.keep_alive);
  CHECK_FALSE(parse(post("", "HTTP/1.0")).head.keep_alive);
  CHECK(parse(post("Connection: Keep-Alive\r\n", "HTTP/1.0")).head.keep_alive);
  CHECK(parse(post("", "HTTP/1.0")).head.http10);
}

TEST_CASE("framing: what two readers could understand differently is refused") {
  CHECK(status_of("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") == 400);
  CHECK(status_of("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") == 400);
  CHECK(status_of("Transfer-Encoding: gzip\r\n") == 400);
  CHECK(status_of("Transfer-Encoding: gzip, chunked\r\n") == 400);
  CHECK(status_of("Transfer-Encoding: chunked, chunked\r\n") == 400);
  CHECK(status_of("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") == 400);
  CHECK(status_of("Transfer-Encoding: xchunked\r\n") == 400);
  CHECK(status_of("Content-Length: 5\r\nContent-Length: 5\r\n") == 400);
  CHECK(status_of("Content-Length: 5\r\nContent-Length: 6\r\n") == 400);
  CHECK(status_of("Content-Length: 5, 5\r\n") == 400);
  CHECK(status_of("Content-Length: +5\r\n") == 400);
  CHECK(status_of("Content-Length: -5\r\n") == 400);
  CHECK(status_of("Content-Length: 0x5\r\n") == 400);
  CHECK(status_of("Content-Length: \r\n") == 400);
  CHECK(status_of("Content-Length: 99999999999999999999999\r\n") == 400);
  CHECK(status_of("Content-Length : 5\r\n") == 400);
  CHECK(status_of(": 5\r\n") == 400);
  CHECK(status_of("X\r\n") == 400);
  CHECK(status_of("X: a\rb\r\n") == 400);
  CHECK(status_of(std::string("X: a\0b\r\n", 8)) == 400);
  CHECK(status_of("Content-Type: a/b\r\nContent-Type: a/b\r\n") == 400);
  CHECK(status_of("Host: b\r\n") == 400);
  CHECK(parse(post("")).fault.status == 400);
  CHECK(parse(post("Host: a b\r\n")).fault.status == 400);
  CHECK(parse(post("Transfer-Encoding: chunked\r\n", "HTTP/1.0")).fault.status == 400);
  CHECK(status_of("Transfer-Encoding: Chunked\r\n") == 0);
}

TEST_CASE("framing: another version is 505, no version 400, a long target 414") {
  CHECK(parse(post("Host: a\r\n", "HTTP/2.0")).fault.status == 505);
  CHECK(parse(post("Host: a\r\n", "HTTP/1.2")).fault.status == 505);
  CHECK(parse(post("Host: a\r\n", "HTTP/0.9")).fault.status == 505);
  CHECK(parse(post("Host: a\r\n", "HTTX/1.1")).fault.status == 400);
  CHECK(parse("GET /\r\n\r\n").fault.status == 400);
  CHECK(parse("GET  / HTTP/1.1\r\nHost: a\r\n\r\n").fault.status == 400);
  CHECK(parse("GET /" + std::string(kMaxTarget, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n").fault.status == 414);
}

TEST_CASE("framing: a path is what the target says, without query or proxy form") {
  CHECK(path_of("/v1/events") == "/v1/events");
  CHECK(path_of("/v1/events?a=b") == "/v1/events");
  CHECK(path_of("http://host:1/v1/events?x") == "/v1/events");
  CHECK(path_of("HTTP://host") == "/");
  CHECK(path_of("*") == "*");
}

TEST_CASE("framing: a chunked body is the same however it is cut") {
  const std::string head = post("Host: a\r\nTransfer-Encoding: chunked\r\n");
  const std::string body = "5\r\nhello\r\n1;x=y\r\n \r\n00A\r\n0123456789\r\n0\r\nX-Trailer: z\r\n\r\n";
  for (std::size_t cut = 0; cut <= body.size(); ++cut) {
    CAPTURE(cut);
    const Parsed parsed = parse(head);
    REQUIRE(parsed.chunks != nullptr);
    std::string got;
    std::string held;
    bool done = false;
    for (const std::string& part : {body.substr(0, cut), body.substr(cut) + "GET"}) {
      held += part;
      while (!done) {
        const ChunkStep step = parsed.chunks->step(held);
        REQUIRE(step.state != ChunkStep::State::bad);
        got += step.data;
        held.erase(0, step.used);
        done = step.state == ChunkStep::State::done;
        if (step.state == ChunkStep::State::starved) break;
      }
    }
    CHECK(done);
    CHECK(got == "hello 0123456789");
    CHECK(held == "GET");
  }
}

TEST_CASE("framing: malformed chunks are bad") {
  for (const std::string body :
       {"x\r\n", "5\nhello\r\n", "5\r\nhelloX", "-1\r\n", "11111111111111111\r\n", "0\r\nContent-Length: 5\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n\r\n", "0\r\nX : y\r\n\r\n"}) {
    CAPTURE(body);
    const Parsed parsed = parse(post("Host: a\r\nTransfer-Encoding: chunked\r\n"));
    std::string held = body;
    ChunkStep step;
    for (int i = 0; i < 100; ++i) {
      step = parsed.chunks->step(held);
      held.erase(0, step.used);
      if (step.state != ChunkStep::State::going) break;
    }
    CHECK((step.state == ChunkStep::State::bad || step.state == ChunkStep::State::starved));
    CHECK(step.state != ChunkStep::State::done);
  }
}

TEST_CASE("ndjson: lines are cut at LF and CRLF, numbered from 1, the last with or without its end") {
  Lines lines("a\nb\r\n\n\r\nc");
  std::vector<std::string> got;
  while (const auto line = lines.next()) got.push_back(std::to_string(lines.number()) + std::string(*line));
  CHECK(got == std::vector<std::string>{"1a", "2b", "3", "4", "5c"});
  Lines ended("a\n");
  CHECK(ended.next() == "a");
  CHECK_FALSE(ended.next().has_value());
}

TEST_CASE("budget: bytes are charged before there is room for them, and all come back") {
  Budget budget(1000);
  {
    ChargedBytes one(budget);
    CHECK(one.try_append("hello"));
    CHECK(budget.used() == one.capacity());
    ChargedBytes two(budget);
    CHECK(two.try_append(std::string(1000 - one.capacity(), 'x')));
    CHECK_FALSE(two.try_append("y"));
    CHECK(one.view() == "hello");
    one.drop_front(2);
    CHECK(one.view() == "llo");
    one.drop_front(3);
    CHECK(one.capacity() == 0);
    CHECK(two.try_append("y"));
    Charge charge(budget);
    CHECK_FALSE(charge.try_add(1000));
  }
  CHECK(budget.used() == 0);
}
