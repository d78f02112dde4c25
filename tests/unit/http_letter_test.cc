// HTTP/1.1 to the letter (RFC 9110 and 9112), by raw sockets: a table of requests, each with what it is answered and
// what is taken of it. Behind every request comes another, so that it is seen whether the connection goes on; where the
// framing is in doubt nothing behind it may be understood as a request. Then each again, cut in two at every byte.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "http/answers.h"
#include "http/server.h"
#include "http_support.h"
#include "sluice/tracker.h"
#include "support/peer.h"

namespace {

using namespace http_support;
using sluiced::http::Config;
using sluiced::http::Page;
using sluiced::http::Server;
using Strings = std::vector<std::string>;

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// A server before a tracker that remembers what it was given, and accepted.
struct House {
  explicit House(const std::function<void(Config&)>& change = {}) {
    sluice::Options options;
    options.workers = 1;
    tracker = std::make_unique<sluice::Tracker>(options, [](const sluice::Delivery&) {});
    Config config;
    config.listen = {{"127.0.0.1", 0, ""}};
    config.pages["/healthz"] = [] { return Page{200, "text/plain", "ok\n"}; };
    config.submit = [this](auto events, const auto& receipt) {
      {
        const std::lock_guard lock(mutex);
        for (const sluice::Event& event : events)
          given.emplace_back(reinterpret_cast<const char*>(event.payload.data()), event.payload.size());
      }
      return tracker->track(events, receipt);
    };
    if (change) change(config);
    server = std::make_unique<Server>(std::move(config));
  }

  [[nodiscard]] const std::string& address() const { return server->addresses().front(); }

  // What was given to the tracker since this was last asked.
  Strings taken() {
    const std::lock_guard lock(mutex);
    return std::exchange(given, {});
  }
  std::uint64_t accepted() { return tracker->shutdown(kPatience).books.accepted; }

  std::mutex mutex;
  Strings given;  // guarded by mutex
  std::unique_ptr<sluice::Tracker> tracker;
  std::unique_ptr<Server> server;  // dies first
};

// One line of the table.
struct Letter {
  std::string what;
  std::string request;
  std::vector<int> answers;  // their statuses
  bool goes_on = true;       // the connection
  Strings taken = {};
};

// A request on /v1/events with these field lines.
std::string with(const std::string& fields, std::string_view body = "abc", const std::string& line_end = "\r\n") {
  return "POST /v1/events HTTP/1.1\r\nHost: a\r\n" + fields + line_end + std::string(body);
}
std::string line(const std::string& request_line, const std::string& fields = "Host: a\r\n") {
  return request_line + "\r\n" + fields + "\r\n";
}
std::string in_chunks(std::string_view chunks, const std::string& fields = "") {
  return with("Transfer-Encoding: chunked\r\n" + fields, chunks);
}

const std::string kThree = "Content-Length: 3\r\n";

// What another reader could find in the bytes of a request whose framing is in doubt.
const std::string kSmuggled = "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nsmuggled";

std::vector<Letter> expectations() {
  const auto expect = [](const std::string& value, const std::string& more = kThree, std::string_view body = "abc") {
    return with("Expect: " + value + "\r\n" + more, body);
  };
  return {
      {"100-continue, its body at once", expect("100-continue"), {202}, true, {"abc"}},
      {"in any case, twice", expect("100-Continue,, 100-CONTINUE "), {202}, true, {"abc"}},
      {"in chunks",
       expect("100-continue", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
       {202},
       true,
       {"abc"}},
      {"of a body that is empty", expect("100-continue", "Content-Length: 0\r\n", ""), {400}, true},
      {"from HTTP/1.0, where it means nothing",
       "POST /v1/events HTTP/1.0\r\nExpect: 100-continue, more\r\nContent-Length: 3\r\n\r\nabc",
       {202},
       false,
       {"abc"}},
      {"unknown", expect("200-ok"), {417}, true},
      {"unknown, beside a known one", expect("100-continue, more"), {417}, false},
      {"unknown, with chunks", expect("more", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), {417}, false},
      {"unknown, of a page", line("GET /healthz HTTP/1.1", "Host: a\r\nExpect: miracles\r\n"), {417}, true},
      {"of a body that is too large", expect("100-continue", "Content-Length: 9999999\r\n"), {413}, false},
      {"of a body in a coding", expect("100-continue", "Content-Encoding: br\r\n" + kThree), {415}, false},
      {"of a body of no length", expect("100-continue", ""), {411}, false},
      {"where nothing is", line("POST /no HTTP/1.1", "Host: a\r\nExpect: 100-continue\r\n" + kThree), {404}, false},
  };
}

std::vector<Letter> chunks() {
  return {
      {"one chunk", in_chunks("3\r\nabc\r\n0\r\n\r\n"), {202}, true, {"abc"}},
      {"many, sizes in any case with zeros before",
       in_chunks("0a\r\n0123456789\r\n00B\r\nabcdefghijk\r\n000\r\n\r\n"),
       {202},
       true,
       {"0123456789abcdefghijk"}},
      {"extensions", in_chunks("3;a\r\nabc\r\n1 ; b = \"c d\" ;e\r\nd\r\n0;last\r\n\r\n"), {202}, true, {"abcd"}},
      {"trailers", in_chunks("3\r\nabc\r\n0\r\nX: y\r\nDigest:\r\n\r\n", "Trailer: X\r\n"), {202}, true, {"abc"}},
      {"line ends as data", in_chunks("4\r\n\r\n\r\n\r\n0\r\n\r\n"), {202}, true, {"\r\n\r\n"}},
      {"the coding's name in any case",
       with("transfer-ENCODING: \tChunKed\t\r\n", "1\r\nx\r\n0\r\n\r\n"),
       {202},
       true,
       {"x"}},
      {"none", in_chunks("0\r\n\r\n"), {400}, true},
      {"no size", in_chunks("\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a size that is no number", in_chunks("z\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a signed size", in_chunks("+3\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a negative size", in_chunks("-3\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a size with 0x", in_chunks("0x3\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a size over 64 bits", in_chunks("10000000000000003\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a blank behind a size", in_chunks("3 \r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a size that ends in a bare LF", in_chunks("3\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a bare LF in an extension", in_chunks("3;a\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a bare LF in a quoted extension", in_chunks("3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a bare CR in an extension", in_chunks("3;a\rb\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"a NUL in an extension", in_chunks(std::string("3;a\0\r\nabc\r\n0\r\n\r\n", 16)), {400}, false},
      {"longer than it said", in_chunks("3\r\nabcd\r\n0\r\n\r\n"), {400}, false},
      {"shorter than it said", in_chunks("5\r\nabc\r\n0\r\n\r\n"), {400}, false},
      {"data that ends in a bare LF", in_chunks("3\r\nabc\n0\r\n\r\n"), {400}, false},
      {"a bare LF as the last line", in_chunks("3\r\nabc\r\n0\r\n\n" + kSmuggled), {400}, false},
      {"a trailer that is none", in_chunks("3\r\nabc\r\n0\r\nX\r\n\r\n"), {400}, false},
      {"a folded trailer", in_chunks("3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"), {400}, false},
      {"a trailer with a space before its colon", in_chunks("3\r\nabc\r\n0\r\nX : a\r\n\r\n"), {400}, false},
      {"a length as trailer", in_chunks("3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"), {400}, false},
      {"a coding as trailer", in_chunks("3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), {400}, false},
      {"a bare LF in a trailer", in_chunks("3\r\nabc\r\n0\r\nX: a\n\r\n\r\n"), {400}, false},
  };
}

std::vector<Letter> connections() {
  const auto closes = [](const std::string& fields) {
    return Letter{fields, with(fields + kThree), {202}, false, {"abc"}};
  };
  const auto stays = [](const std::string& fields) {
    return Letter{fields, with(fields + kThree), {202}, true, {"abc"}};
  };
  const auto old = [](const std::string& fields, bool goes_on) {
    return Letter{
        "1.0 " + fields, "POST /v1/events HTTP/1.0\r\n" + fields + kThree + "\r\nabc", {202}, goes_on, {"abc"}};
  };
  return {
      closes("Connection: close\r\n"),
      closes("connection:CLOSE\r\n"),
      closes("Connection: keep-alive, close\r\n"),
      closes("Connection: close, keep-alive\r\n"),
      closes("Connection: ,x-other ,\tClose ,\r\n"),
      closes("Connection: keep-alive\r\nConnection: close\r\n"),
      closes("Connection: close\r\nConnection: keep-alive\r\n"),
      stays(""),
      stays("Connection: keep-alive\r\nKeep-Alive: timeout=5, max=1\r\n"),
      stays("Connection:\r\n"),
      stays("Connection: closed\r\n"),
      stays("Connection: x-close\r\n"),
      stays("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
      {"a Connection that is no list", with("Connection: \"close\"\r\n" + kThree), {400}, false},
      old("", false),
      old("Connection: keep-alive\r\n", true),
      old("Host: a\r\nCONNECTION: x, Keep-Alive\r\n", true),
      old("Connection: keep-alive, close\r\n", false),
      old("Connection: close\r\n", false),
      {"1.0, a page", line("GET /healthz HTTP/1.0", ""), {200}, false},
      {"1.0, a page, and more", line("GET /healthz HTTP/1.0", "Connection: keep-alive\r\n"), {200}, true},
      {"1.0, two Hosts", line("GET /healthz HTTP/1.0", "Host: a\r\nHost: a\r\n"), {400}, false},
      {"1.0, chunks",
       "POST /v1/events HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
       {400},
       false},
      {"0.9", "GET /healthz\r\n\r\n", {400}, false},
      {"1.2", line("GET /healthz HTTP/1.2"), {505}, false},
      {"a version in lower case", line("GET /healthz http/1.1"), {400}, false},
      {"a version and more", line("GET /healthz HTTP/1.1 "), {400}, false},
      {"a version of two digits", line("GET /healthz HTTP/1.10"), {400}, false},
  };
}

std::vector<Letter> targets() {
  const auto to = [](const std::string& target, int status = 202) {
    return Letter{target,
                  line("POST " + target + " HTTP/1.1", "Host: other\r\n" + kThree) + "abc",
                  {status},
                  true,
                  status == 202 ? Strings{"abc"} : Strings{}};
  };
  return {
      to("/v1/events"),
      to("/v1/events?"),
      to("/v1/events?a=/b?c"),
      to("http://a/v1/events"),
      to("HTTP://A:80/v1/events?x"),
      to("https://user@a/v1/events"),
      to("http://[::1]:80/v1/events"),
      to("http://a?/v1/events", 404),
      to("http://a", 404),
      to("v1/events", 404),
      to("//v1/events", 202),
      to("/v1/events/", 202),
      to("/v1//events", 202),
      to("/v1/events/x", 404),
      to("/./v1/events", 404),
      to("/V1/EVENTS", 404),
      to("/v1/events#x", 404),
      to("*", 404),
      to("/\xff", 404),
      {"an absolute target still wants a Host", line("POST http://a/v1/events HTTP/1.1", kThree) + "abc", {400}, false},
      {"a target with a space", line("POST /v1/events x HTTP/1.1", "Host: a\r\n" + kThree) + "abc", {400}, false},
      {"a target with a tab", line("POST /v1/events\tx HTTP/1.1", "Host: a\r\n" + kThree) + "abc", {400}, false},
      {"no target", line("POST  HTTP/1.1", "Host: a\r\n" + kThree) + "abc", {400}, false},
      {"two spaces", line("POST  /v1/events HTTP/1.1", "Host: a\r\n" + kThree) + "abc", {400}, false},
      {"a tab for a space", line("POST\t/v1/events HTTP/1.1", "Host: a\r\n" + kThree) + "abc", {400}, false},
      {"no Host", line("GET /healthz HTTP/1.1", ""), {400}, false},
      {"an empty Host", line("GET /healthz HTTP/1.1", "Host:\r\n"), {200}, true},
      {"a Host with a port", line("GET /healthz HTTP/1.1", "Host: [::1]:80\r\n"), {200}, true},
      {"two Hosts that differ", line("GET /healthz HTTP/1.1", "Host: a\r\nHost: b\r\n"), {400}, false},
      {"two Hosts that do not", line("GET /healthz HTTP/1.1", "Host: a\r\nhost: a\r\n"), {400}, false},
      {"two Hosts in one", line("GET /healthz HTTP/1.1", "Host: a, b\r\n"), {400}, false},
      {"a Host with a path", line("GET /healthz HTTP/1.1", "Host: a/b\r\n"), {400}, false},
      {"a Host with a port that is none", line("GET /healthz HTTP/1.1", "Host: a:b\r\n"), {400}, false},
      {"a Host with a user", line("GET /healthz HTTP/1.1", "Host: u@a\r\n"), {400}, false},
  };
}

std::vector<Letter> methods() {
  const auto by = [](const std::string& method, const std::string& target, int status, bool goes_on = true) {
    return Letter{method + " " + target, line(method + " " + target + " HTTP/1.1"), {status}, goes_on};
  };
  return {
      by("GET", "/healthz", 200),
      by("HEAD", "/healthz", 200),
      by("HEAD", "/v1/events", 405),
      by("HEAD", "/no", 404),
      by("OPTIONS", "/v1/events", 204),
      by("OPTIONS", "/healthz", 204),
      by("OPTIONS", "*", 204),
      by("OPTIONS", "/no", 404),
      by("GET", "*", 404),
      by("PUT", "/v1/events", 405),
      by("TRACE", "/healthz", 405),
      by("CONNECT", "a:80", 404),
      by("post", "/v1/events", 405),
      by("BREW", "/v1/events", 405),
      by("!#$%&'*+-.^_`|~1aZ", "/healthz", 405),
      by("PO(ST", "/v1/events", 400, false),
      by("P\xc3\x96ST", "/v1/events", 400, false),
      {"HEAD, refused for its Host", line("HEAD /healthz HTTP/1.1", ""), {400}, false},
      {"GET with a body", line("GET /healthz HTTP/1.1", "Host: a\r\n" + kThree) + "GET", {200}, true},
      {"GET with chunks",
       line("GET /healthz HTTP/1.1", "Host: a\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
       {200},
       false},
      {"an unknown method with a body", line("BREW /v1/events HTTP/1.1", "Host: a\r\n" + kThree) + "abc", {405}, true},
  };
}

std::vector<Letter> doubtful() {
  const std::string nul(1, '\0');
  const auto bad = [](const std::string& what, const std::string& fields, const std::string& body = kSmuggled) {
    return Letter{what, with(fields, body), {400}, false};
  };
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  const std::string smuggled_in_chunks = "0\r\n\r\n" + kSmuggled;
  return {
      bad("a length, then chunks", "Content-Length: 5\r\n" + chunked, smuggled_in_chunks),
      bad("chunks, then a length", chunked + "Content-Length: 5\r\n", smuggled_in_chunks),
      bad("a length of 0, then chunks", "Content-Length: 0\r\n" + chunked, smuggled_in_chunks),
      bad("chunks, then an empty length", chunked + "Content-Length:\r\n", smuggled_in_chunks),
      bad("an unknown coding", "Transfer-Encoding: gzip\r\n"),
      bad("an unknown coding before chunked", "Transfer-Encoding: gzip, chunked\r\n", smuggled_in_chunks),
      bad("identity", "Transfer-Encoding: identity\r\n" + kThree),
      bad("chunked, but not last", "Transfer-Encoding: chunked, identity\r\n", smuggled_in_chunks),
      bad("chunked twice", chunked + chunked, smuggled_in_chunks),
      bad("chunked twice in a list", "Transfer-Encoding: chunked, chunked\r\n", smuggled_in_chunks),
      bad("a coding that is nearly chunked", "Transfer-Encoding: xchunked\r\n", smuggled_in_chunks),
      bad("a coding with a parameter", "Transfer-Encoding: chunked;a=b\r\n", smuggled_in_chunks),
      bad("a coding in quotes", "Transfer-Encoding: \"chunked\"\r\n", smuggled_in_chunks),
      bad("a coding behind a vertical tab", "Transfer-Encoding: \vchunked\r\n", smuggled_in_chunks),
      bad("an empty coding", "Transfer-Encoding:\r\n" + kThree),
      bad("a coding with a space before its colon", "Transfer-Encoding : chunked\r\n" + kThree),
      bad("a coding that is folded", "Transfer-Encoding:\r\n chunked\r\n" + kThree, smuggled_in_chunks),
      bad("two lengths that differ", "Content-Length: 3\r\nContent-Length: 4\r\n"),
      bad("two lengths that do not", "Content-Length: 3\r\nContent-Length: 3\r\n"),
      bad("a list of lengths that differ", "Content-Length: 3, 4\r\n"),
      bad("a list of lengths that do not", "Content-Length: 3, 3\r\n"),
      bad("a negative length", "Content-Length: -3\r\n"),
      bad("a signed length", "Content-Length: +3\r\n"),
      bad("a hexadecimal length", "Content-Length: 0x3\r\n"),
      bad("a length with a blank in it", "Content-Length: 3 0\r\n"),
      bad("a length with a point", "Content-Length: 3.0\r\n"),
      bad("an empty length", "Content-Length:\r\n"),
      bad("a length over 64 bits", "Content-Length: 18446744073709551619\r\n"),
      bad("a length far over 64 bits", "Content-Length: 99999999999999999999999999999999\r\n"),
      bad("a length with a space before its colon", "Content-Length : 3\r\n"),
      bad("a length with a tab before its colon", "Content-Length\t: 3\r\n"),
      bad("a length that is folded", "Content-Length: 3\r\n 0\r\n"),
      bad("a length behind a bare LF", "X: y\nContent-Length: 3\r\n"),
      bad("a length behind a bare CR", "X: y\rContent-Length: 3\r\n"),
      bad("a length behind a NUL", "X: y" + nul + "Content-Length: 3\r\n"),
      bad("a name with a NUL", "Content-Length" + nul + ": 3\r\n"),
      bad("a value with a NUL", "X: " + nul + "\r\n" + kThree),
      bad("a name with a space", "X Y: z\r\n" + kThree),
      bad("a name that is not ASCII", "X\xc3\x96: z\r\n" + kThree),
      bad("no name", ": z\r\n" + kThree),
      bad("no colon", "X\r\n" + kThree),
      bad("a value with a DEL", "X: \x7f\r\n" + kThree),
      bad("a value with an escape", "X: \x1b[0m\r\n" + kThree),
      bad("CR CR LF", "X: y\r\r\n" + kThree),
      bad("two types", "Content-Type: text/plain\r\nContent-Type: text/plain\r\n" + kThree),
      {"a folded line", with("X: a\r\n b\r\n" + kThree), {400}, false},
      {"a line folded by a tab", with("X: a\r\n\tb\r\n" + kThree), {400}, false},
      {"a first line that is folded", "POST /v1/events HTTP/1.1\r\n Host: a\r\n" + kThree + "\r\nabc", {400}, false},
      {"bare LFs throughout", "POST /v1/events HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc", {400}, false},
      {"a bare LF at the end of the head", with(kThree, "abc", "\n"), {400}, false},
      {"bare CRs throughout", "POST /v1/events HTTP/1.1\rHost: a\rContent-Length: 3\r\rabc\r\n\r\n", {400}, false},
      {"a NUL in the target", "POST /v1/events" + nul + " HTTP/1.1\r\nHost: a\r\n" + kThree + "\r\nabc", {400}, false},
      {"a huge length", with("Content-Length: 18446744073709551615\r\n"), {413}, false},
      {"a length with zeros before it", with("Content-Length: 0000000003\r\n"), {202}, true, {"abc"}},
      {"no length and no chunks", with("", kSmuggled), {411}, false},
      {"an underscore is no hyphen",
       with("Content_Length: 9\r\nTransfer_Encoding: chunked\r\n" + kThree),
       {202},
       true,
       {"abc"}},
      {"NULs as data", with(kThree, std::string("\0a\0", 3)), {202}, true, {std::string("\0a\0", 3)}},
      {"blanks around a value", with("Content-Length: \t 3 \t\r\n"), {202}, true, {"abc"}},
  };
}

std::vector<Letter> neighbours() {
  const std::string ok = with(kThree);
  const std::string nul(1, '\0');
  return {
      {"two requests", ok + with(kThree, "def"), {202, 202}, true, {"abc", "def"}},
      {"empty lines before a request", "\r\n\r\n" + ok + "\r\n", {202}, true, {"abc"}},
      {"a bare LF before a request", "\n" + ok, {400}, false},
      {"CR CR LF before a request", "\r\r\n" + ok, {400}, false},
      {"a blank before a request", " " + ok, {400}, false},
      {"garbage behind a request", ok + "garbage\r\n\r\n" + kSmuggled, {202, 400}, false, {"abc"}},
      {"NULs behind a request", ok + nul + nul + kSmuggled, {202, 400}, false, {"abc"}},
      {"more body than said", with("Content-Length: 2\r\n") + ok, {202, 405}, true, {"ab"}},
      {"TLS", std::string("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 11) + kSmuggled, {400}, false},
      {"SSLv2", "\x80\x2e\x01\x03\x01" + kSmuggled, {400}, false},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + kSmuggled, {505}, false},
      {"SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n" + kSmuggled, {400}, false},
      {"a status line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + kSmuggled, {400}, false},
      {"bytes over 127", "\xff\xfe" + kSmuggled, {400}, false},
  };
}

// All that is small enough to be cut at every byte.
std::vector<Letter> table() {
  std::vector<Letter> all;
  for (auto part : {expectations(), chunks(), connections(), targets(), methods(), doubtful(), neighbours()})
    std::move(part.begin(), part.end(), std::back_inserter(all));
  return all;
}

// Those that are too large.
std::vector<Letter> large() {
  const std::size_t mebibyte = 1 << 20;
  const std::string limit(std::size_t{256} << 10U, 'x');
  return {
      {"a header of 1 MiB", with("X: " + std::string(mebibyte, 'x') + "\r\n" + kThree), {431}, false},
      {"a name of 1 MiB", with(std::string(mebibyte, 'x') + ": x\r\n" + kThree), {431}, false},
      {"ten thousand headers", with(repeated("a:\r\n", 10'000) + kThree), {431}, false},
      {"ten thousand headers, then a bare LF", with(repeated("a:\r\n", 10'000) + "\n" + kThree), {431}, false},
      {"four thousand headers", with(repeated("a:\r\n", 4'000) + kThree), {202}, true, {"abc"}},
      {"a target of 1 MiB", line("GET /" + std::string(mebibyte, 'x') + " HTTP/1.1"), {414}, false},
      {"a target of 9 KB", line("GET /" + std::string(9'000, 'x') + " HTTP/1.1"), {414}, false},
      {"a method of 1 MiB", line(std::string(mebibyte, 'X') + " / HTTP/1.1"), {414}, false},
      {"NULs without an end", std::string(mebibyte, '\0'), {400}, false},
      {"letters without an end", std::string(mebibyte, 'A'), {414}, false},
      {"empty lines, many", repeated("\r\n", 100'000) + with(kThree), {202}, true, {"abc"}},
      {"an endless chunk", in_chunks("ffffffffffffffff\r\n" + std::string(4 * mebibyte, 'x')), {413}, false},
      {"endless chunks", in_chunks(repeated("1\r\nx\r\n", 300'000)), {413}, false},
      {"an endless size", in_chunks(std::string(mebibyte, '0')), {431}, false},
      {"an endless extension", in_chunks("1;" + std::string(mebibyte, 'x')), {431}, false},
      {"a long extension, then a bare LF", in_chunks("1;" + std::string(20'000, 'x') + "\n"), {431}, false},
      {"a long extension that ends well",
       in_chunks("1;" + std::string(20'000, 'x') + "\r\nx\r\n0\r\n\r\n"),
       {431},
       false},
      {"extensions, each in its bounds",
       in_chunks(repeated("1;" + std::string(15'000, 'x') + "\r\nx\r\n", 10) + "0\r\n\r\n"),
       {202},
       true,
       {"xxxxxxxxxx"}},
      {"endless trailers", in_chunks("1\r\nx\r\n0\r\n" + repeated("a:\r\n", 300'000)), {431}, false},
      {"chunks up to the limit", in_chunks("40000\r\n" + limit + "\r\n0\r\n\r\n"), {202}, true, {limit}},
      {"chunks one over the limit", in_chunks("40000\r\n" + limit + "\r\n1\r\nx\r\n0\r\n\r\n"), {413}, false},
      {"a body up to the limit", post(limit), {202}, true, {limit}},
      {"a body one over the limit", post(limit + "x"), {413}, false},
  };
}

const std::string kLast = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const std::string kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// What a client has heard until its connection ended.
struct Heard {
  std::vector<int> statuses;
  std::size_t continues = 0;  // interim answers, not among the statuses
  std::string text;           // of the others, without what differs each time: dates and ids
  bool ended = false;         // in order, not by a reset
};

std::string in_words(const std::vector<int>& statuses) {
  std::string all;
  for (const int status : statuses) all += std::to_string(status) + " ";
  return all;
}

void cut_out(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += from.size()) {
    const std::size_t begin = at + from.size();
    text.erase(begin, text.find(to, begin) - begin);
  }
}

Heard hear(Client& client, bool first_has_body) {
  Heard heard;
  bool has_body = first_has_body;
  for (;;) {
    const Answer answer = client.receive(has_body);
    if (answer.status == 0) break;
    if (answer.status == 100) {
      ++heard.continues;
      continue;
    }
    has_body = true;
    heard.statuses.push_back(answer.status);
    std::string text = answer.head + "\r\n" + answer.body;
    cut_out(text, "\r\nDate: ", "\r\n");
    if (answer.status == 202) {
      for (const std::string_view id : {"\"first\":\"", "\"last\":\""}) cut_out(text, id, "\"");
      cut_out(text, "\r\nContent-Length: ", "\r\n");  // with that of the ids
    }
    heard.text += text;
  }
  heard.ended = client.ends();
  return heard;
}

bool asks_for_body(const Letter& letter) { return letter.request.find("HEAD ") != 0; }

// Sends it whole, and what shall be the last request behind it.
Heard ask_whole(const House& house, const Letter& letter) {
  Client client(house.address());
  client.send(letter.request + kLast);
  return hear(client, asks_for_body(letter));
}

Heard ask_cut(const House& house, const Letter& letter, std::size_t cut) {
  Client client(house.address());
  client.send(std::string_view(letter.request).substr(0, cut));
  REQUIRE(test::wait_peer_has_read(client.fd(), cut, kPatience));
  client.send(letter.request.substr(cut) + kLast);
  return hear(client, asks_for_body(letter));
}

// As the table says; the number of events that must have been accepted for it.
std::size_t check_whole(House& house, const Letter& letter) {
  CAPTURE(letter.what);
  const Heard heard = ask_whole(house, letter);
  std::vector<int> expected = letter.answers;
  if (letter.goes_on) expected.push_back(200);
  CHECK(in_words(heard.statuses) == in_words(expected));
  CHECK(heard.continues == 0);
  CHECK(heard.ended);
  CHECK(house.taken() == letter.taken);
  return letter.taken.size();
}

void check_cut(House& house, const Letter& letter, const Heard& whole, std::size_t cut) {
  CAPTURE(letter.what);
  CAPTURE(cut);
  const Heard heard = ask_cut(house, letter, cut);
  CHECK(heard.text == whole.text);
  CHECK(heard.ended);
  CHECK(house.taken() == letter.taken);
}

}  // namespace

TEST_CASE("letter: each request of the table is answered as it says, and only what it says is taken") {
  House house;
  std::size_t events = 0;
  std::set<std::string> names;
  for (const std::vector<Letter>& part : {table(), large()}) {
    for (const Letter& letter : part) {
      CHECK_MESSAGE(names.insert(letter.what).second, "twice: ", letter.what);
      events += check_whole(house, letter);
    }
  }
  CHECK(house.accepted() == events);
}

TEST_CASE(
    "letter: each request, cut in two at every byte, is answered as in one piece, and what is taken is the same") {
  House house;
  for (const Letter& letter : table()) {
    const Heard whole = ask_whole(house, letter);
    (void)house.taken();
    for (std::size_t cut = 1; cut < letter.request.size(); ++cut) check_cut(house, letter, whole, cut);
  }
}

TEST_CASE("letter: large requests, cut around each limit and elsewhere, are answered as in one piece") {
  House house;
  for (const Letter& letter : large()) {
    const Heard whole = ask_whole(house, letter);
    (void)house.taken();
    const std::size_t size = letter.request.size();
    std::set<std::size_t> cuts = {1,      100,    8'192,  16'383, 16'384,  16'385,   16'386,
                                  20'000, 65'535, 65'536, 65'537, 262'200, size - 2, size - 1};
    for (const std::size_t cut : cuts) {
      if (cut < size) check_cut(house, letter, whole, cut);
    }
  }
}

TEST_CASE("letter: a 100 is sent once, and only if nothing of a body that is wanted has come") {
  House house;
  for (const Letter& letter : expectations()) {
    CAPTURE(letter.what);
    const std::size_t head = letter.request.find("\r\n\r\n") + 4;
    const bool wanted = letter.answers.front() == 202 && letter.request.find("HTTP/1.0") == std::string::npos;
    for (std::size_t cut = 1; cut < letter.request.size(); ++cut) {
      CAPTURE(cut);
      CHECK(ask_cut(house, letter, cut).continues == (wanted && cut == head ? 1 : 0));
    }
  }
}

TEST_CASE("letter: a body cut short by its client's end is not taken, and nothing is answered") {
  House house;
  for (const std::string& half : {with("Content-Length: 10\r\n", "12345"), with("Content-Length: 10\r\n", ""),
                                  in_chunks("5\r\nabc"), in_chunks("3\r\nabc\r\n"), in_chunks("3\r\nabc\r\n0\r\n"),
                                  in_chunks("3\r\nabc\r\n0\r\nX: y\r\n"), with(kThree).substr(0, 30)}) {
    CAPTURE(half);
    Client client(house.address());
    client.send(half);
    ::shutdown(client.fd(), SHUT_WR);
    CHECK(client.ends());
  }
  CHECK(house.accepted() == 0);
}

TEST_CASE("letter: every final answer has a Date, that of now, and no answer has two") {
  House house([](Config& config) { config.max_connections = 4; });
  const auto check = [](const Answer& answer, std::time_t before) {
    CAPTURE(answer.head);
    const std::size_t at = answer.head.find("\r\nDate: ");
    REQUIRE(at != std::string::npos);
    CHECK(answer.head.find("\r\nDate: ", at + 1) == std::string::npos);
    std::tm parts{};
    const char* const rest = ::strptime(answer.head.c_str() + at + 8, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    REQUIRE(rest != nullptr);
    CHECK(std::string_view(rest).starts_with("\r\n"));
    const std::time_t said = ::timegm(&parts);
    CHECK(said >= before);
    CHECK(said <= std::time(nullptr));
  };
  for (const Letter& letter :
       {expectations()[0], expectations()[5], methods()[0], methods()[1], methods()[4], doubtful()[0]}) {
    const std::time_t before = std::time(nullptr);
    Client client(house.address());
    client.send(letter.request);
    check(client.receive(asks_for_body(letter)), before);
  }
  REQUIRE(eventually([&] { return house.server->counters().connections == 0; }));
  std::vector<std::unique_ptr<Client>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(std::make_unique<Client>(house.address()));
    all.back()->send("GET /healthz HTTP/1.1\r\n");
  }
  REQUIRE(eventually([&] { return house.server->counters().answers_owed == 4; }));
  const std::time_t before = std::time(nullptr);
  Client turned_away(house.address());
  const Answer answer = turned_away.receive();
  CHECK(answer.status == 503);
  check(answer, before);
}

TEST_CASE("letter: the Date is made once a second, and moves on with the clock") {
  sluiced::http::CommonFields fields(500ms);
  const auto fresh = [] {
    const std::time_t now = std::time(nullptr);
    std::array<char, 64> text{};
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    return std::string(text.data(),
                       std::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts));
  };
  int seconds = 0;
  std::string last;
  CHECK(eventually([&] {
    const std::string before = fresh();
    const std::string said(fields.now({.keep_alive = false}).substr(std::string_view("Connection: close\r\n").size()));
    const std::string after = fresh();
    if (said != before && said != after) return true;  // neither: wrong, as the check below finds
    if (said != last) ++seconds;
    last = said;
    return seconds == 3;
  }));
  CHECK(seconds == 3);
}
