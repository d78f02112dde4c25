// Framing: where a head ends, what it says, what a chunked body holds, and what is refused because two readers could
// understand it differently. Also what stands beside it: NDJSON lines and the budget.
#include "http/request.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "http/charged_bytes.h"
#include "http/chunks.h"
#include "http/known_head.h"
#include "http/ndjson.h"

namespace {

using namespace sluiced::http;

struct Parsed {
  Head head;
  HeadFault fault;
};

Parsed parse(std::string_view text) {
  Parsed parsed;
  parsed.fault = parse_head(text, parsed.head);
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

TEST_CASE("framing: a head that was read before is known again, whatever the length of its body") {
  const std::string text = post("Host: a\r\nContent-Type: text/plain\r\nContent-Length: 17\r\nX: y\r\n");
  KnownHead known;
  CHECK(known.match(text) == 0);
  {
    std::string received = text;  // and gone: what is known is not in it
    known.keep(received, parse(received).head);
    received.assign(received.size(), '?');
  }
  for (const char* digits : {"17", "0", "5", "018", "123456789"}) {
    std::string other = text;
    other.replace(other.find("17"), 2, digits);
    INFO(digits);
    REQUIRE(known.match(other + "{}") == other.size());
    const Parsed anew = parse(other);
    CHECK(known.head().content_length == anew.head.content_length);
    CHECK(known.head().method == anew.head.method);
    CHECK(known.head().target == anew.head.target);
    CHECK(known.head().content_type == anew.head.content_type);
  }
  for (const char* digits : {"", "x", "1x", "+1", "-1", " 1", "1 ", "1,1", "1234567890", "1\r\nY: 1"}) {
    std::string other = text;
    other.replace(other.find("17"), 2, digits);
    INFO(digits);
    CHECK(known.match(other) == 0);
  }
}

TEST_CASE("framing: a head with any byte changed, missing or more is not known") {
  for (const char* fields : {"Host: a\r\nContent-Length: 17\r\n", "Host: a\r\nTransfer-Encoding: chunked\r\n"}) {
    const std::string text = post(fields);
    KnownHead known;
    known.keep(text, parse(text).head);
    REQUIRE(known.match(text) == text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
      std::string other = text;
      other[at] = text[at] == 'A' ? 'B' : 'A';
      REQUIRE(known.match(other) == 0);
      REQUIRE(known.match(text.substr(0, at)) == 0);
      other.insert(at, 1, 'A');
      REQUIRE(known.match(other) == 0);
    }
  }
}

TEST_CASE("framing: a head that is long, or carries what is another each time, is not kept, nor the one before it") {
  const std::string text = post("Host: a\r\nContent-Length: 17\r\n");
  for (const std::string& odd :
       {post("Host: a\r\nX: " + std::string(512, 'x') + "\r\n"), post("Host: a\r\nce-id: 1\r\nContent-Length: 1\r\n"),
        post("Host: a\r\nContent-Length: 0000000001\r\n")}) {
    KnownHead known;
    known.keep(text, parse(text).head);
    known.keep(odd, parse(odd).head);
    CHECK(known.match(odd) == 0);
    CHECK(known.match(text) == 0);
  }
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
  CHECK_FALSE(parse(post("Connection: keep-alive\r\nConnection: close\r\n", "HTTP/1.0")).head.keep_alive);
  CHECK_FALSE(parse(post("Proxy-Connection: keep-alive\r\n", "HTTP/1.0")).head.keep_alive);
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
  CHECK(path_of("HTTPS://host/v1/events") == "/v1/events");
  CHECK(path_of("HTTP://host") == "/");
  CHECK(path_of("http://host?x=/v1/events") == "/");
  CHECK(path_of("ftp://host/v1/events") == "ftp://host/v1/events");
  CHECK(path_of("*") == "*");
}

TEST_CASE("framing: a Host is a name or number with or without a port, or empty") {
  const auto status = [](const std::string& host) { return parse(post("Host: " + host + "\r\n")).fault.status; };
  for (const std::string good : {"", "a", "a:", "a:80", "xn--a.b-c.example:65535", "127.0.0.1:1", "[::1]", "[::1]:8080",
                                 "[fe80::1%25eth0]:1", "[v1.a:b]", "a_b", "%41", "a:0080"}) {
    CAPTURE(good);
    CHECK(status(good) == 0);
  }
  for (const std::string bad :
       {"a b", "a,b",  "a/b",  "http://a", "a?b",    "a#b",     "u@a",  "a\\b",  "a:b",   "a:1:2", "a:-1",
        "::1", "[::1", "::1]", "[]",       "[::1]x", "[::1]:x", "[g]/", "\"a\"", "a\xff", "<a>"}) {
    CAPTURE(bad);
    CHECK(status(bad) == 400);
  }
}

TEST_CASE("framing: an expectation is a list, in which only 100-continue has a meaning, and none in HTTP/1.0") {
  const auto expects = [](const std::string& fields, const std::string& version = "HTTP/1.1") {
    const Parsed parsed = parse(post("Host: a\r\n" + fields, version));
    REQUIRE(parsed.fault.status == 0);
    return std::string(parsed.head.expects_continue ? "continue " : "") + (parsed.head.expects_else ? "else" : "");
  };
  CHECK(expects("") == "");
  CHECK(expects("Expect:\r\n") == "");
  CHECK(expects("Expect: 100-CONTINUE\r\n") == "continue ");
  CHECK(expects("Expect: , 100-continue ,\r\n") == "continue ");
  CHECK(expects("Expect: 100-continue\r\nExpect: 100-continue\r\n") == "continue ");
  CHECK(expects("Expect: 100-continue, more\r\n") == "continue else");
  CHECK(expects("Expect: more\r\nExpect: 100-continue\r\n") == "continue else");
  CHECK(expects("Expect: 100-continue;q=1\r\n") == "else");
  CHECK(expects("Expect: 200-ok\r\n") == "else");
  CHECK(expects("Expect: 100-continue, more\r\n", "HTTP/1.0") == "");
}

// ---- chunks

namespace {

// What a reader makes of these pieces: the body, and how it ended. `behind`: what it left of the last piece.
struct Unwrapped {
  ChunkStep::State end = ChunkStep::State::starved;
  std::string body, behind;
};
Unwrapped unwrap(const std::vector<std::string>& pieces) {
  ChunkReader reader;
  Unwrapped all;
  for (const std::string& piece : pieces) {
    std::string_view left = piece;
    do {
      const ChunkStep step = reader.step(left);
      all.body += step.data;
      all.end = step.state;
      left.remove_prefix(step.used);
    } while (all.end == ChunkStep::State::going);
    all.behind = left;
    if (all.end != ChunkStep::State::starved) break;
  }
  return all;
}

}  // namespace

TEST_CASE("framing: a chunked body is the same however it is cut") {
  const std::string body =
      "5\r\nhello\r\n1;x=y;z=\"a b\"\r\n \r\n00A \t;q\r\n0123456789\r\n000\r\nX-Trailer: z\r\nEmpty:\r\n\r\n";
  for (std::size_t cut = 0; cut < body.size(); ++cut) {
    CAPTURE(cut);
    const Unwrapped all = unwrap({body.substr(0, cut), body.substr(cut) + "GET"});
    CHECK(all.end == ChunkStep::State::done);
    CHECK(all.body == "hello 0123456789");
    CHECK(all.behind == "GET");
  }
  std::vector<std::string> bytes;
  for (const char byte : body) bytes.emplace_back(1, byte);
  CHECK(unwrap(bytes).end == ChunkStep::State::done);
  CHECK(unwrap(bytes).body == "hello 0123456789");
}

TEST_CASE("framing: malformed chunks are bad at the byte that is wrong, and what another could take for a line's end") {
  for (const std::string bad : {"x",
                                "\r",
                                "\n",
                                ";",
                                " ",
                                "+",
                                "-",
                                "5\n",
                                "5x",
                                "5 \r",
                                "5 5",
                                "5;a\n",
                                "5;a=\"b\n",
                                "5;a\rb",
                                "5\r5",
                                "5;a\x7f",
                                "0x",
                                "fffffffffffffffff",
                                "10000000000000000",
                                "5\r\nhelloX",
                                "5\r\nhello\n",
                                "5\r\nhello\rX",
                                "5\r\nhello\r\n\r",
                                "0\r\n\n",
                                "0\r\n\r\r",
                                "0\r\n:",
                                "0\r\n ",
                                "0\r\n\t",
                                "0\r\nX ",
                                "0\r\nX\r",
                                "0\r\nX: a\n",
                                "0\r\nX: a\rb",
                                "0\r\nX: a\r\n ",
                                "0\r\nContent-Length:",
                                "0\r\nTRANSFER-encoding:"}) {
    CAPTURE(bad);
    const Unwrapped all = unwrap({bad});
    CHECK(all.end == ChunkStep::State::bad);
    CHECK(all.behind.empty());
    CHECK(unwrap({bad.substr(0, bad.size() - 1)}).end == ChunkStep::State::starved);
  }
  const std::string nul(1, '\0');
  CHECK(unwrap({"5;a" + nul}).end == ChunkStep::State::bad);
  CHECK(unwrap({"0\r\nX: " + nul}).end == ChunkStep::State::bad);
  CHECK(unwrap({"0\r\nContent-Lengths: 5\r\n\r\n"}).end == ChunkStep::State::done);
  CHECK(unwrap({"ffffffffffffffff\r\n"}).end == ChunkStep::State::starved);  // the caller's limit is not 64 bits
}

TEST_CASE("framing: a chunk's extensions, and all trailers together, have 16 KiB") {
  const std::size_t most = ChunkReader::kMaxLine;
  const std::string extension(most - 4, 'x');  // with `1;` and the line's end: as much as there may be
  const std::string trailers = "0\r\nA: " + std::string(most - 10, 'x') + "\r\n\r\n";
  CHECK(unwrap({"1;" + extension + "\r\nx"}).end == ChunkStep::State::starved);
  CHECK(unwrap({"1;" + extension + "y\r\n"}).end == ChunkStep::State::too_long);
  CHECK(unwrap({std::string(most + 1, '0')}).end == ChunkStep::State::too_long);
  CHECK(unwrap({trailers}).end == ChunkStep::State::done);
  CHECK(unwrap({"0" + trailers}).end == ChunkStep::State::too_long);
  std::string short_ones = "0\r\n";
  while (short_ones.size() <= most) short_ones += "A:\r\n";
  CHECK(unwrap({short_ones}).end == ChunkStep::State::too_long);
}

TEST_CASE("ndjson: lines are counted, the last with or without its end, empty ones too") {
  CHECK(count_lines("") == 0);
  CHECK(count_lines("a") == 1);
  CHECK(count_lines("a\n") == 1);
  CHECK(count_lines("a\nb") == 2);
  CHECK(count_lines("a\r\n\r\nb\r\n") == 3);
  CHECK(count_lines("\n\n\n") == 3);
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
