// Bodies in a content coding: what is decoded is what was encoded, however it was cut; what is damaged, cut short or
// larger than it may be is refused within the bound; what a decoder holds is charged, and given back. The encoders are
// the libraries' own; the programs gzip and zstd are tried in tests/clients.
#include "http/decoder.h"

#include <doctest/doctest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http_house.h"

namespace {

using namespace http_support;
using sluiced::http::Budget;
using sluiced::http::Coding;
using sluiced::http::Decoder;
using sluiced::http::DecodeStep;
using sluiced::http::make_decoder;
using Fault = DecodeStep::Fault;

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr const char* kJson = "application/json";
constexpr const char* kLines = "application/x-ndjson";

// By zlib: gzip with 31 window bits, deflate with 15, without its wrapping with -15.
std::string deflated(std::string_view text, int window_bits) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<unsigned>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<unsigned>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}
std::string gzipped(std::string_view text) { return deflated(text, 31); }

// As a stream, whose size is not said, so that the window is as the level and `window_log` have it.
std::string zstd_streamed(std::string_view text, int window_log = 0) {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  if (window_log != 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  std::string out(ZSTD_compressBound(text.size()) + 64, '\0');
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  ZSTD_inBuffer from{text.data(), text.size(), 0};
  while (from.pos < from.size) REQUIRE(ZSTD_isError(ZSTD_compressStream2(context, &to, &from, ZSTD_e_continue)) == 0);
  REQUIRE(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end) == 0);
  ZSTD_freeCCtx(context);
  out.resize(to.pos);
  return out;
}
std::string zstd_whole(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string some_text(std::size_t size) {
  std::string text;
  for (unsigned n = 1; text.size() < size; n = n * 1664525U + 1013904223U) text += std::to_string(n % 100'000) + "\n";
  text.resize(size);
  return text;
}

struct Decoded {
  std::string text;
  Fault fault = Fault::none;
  bool whole = false;
};

// In pieces and rooms of these sizes.
Decoded decode(Coding coding, std::string_view input, std::size_t piece, std::size_t room, Budget& budget) {
  const std::unique_ptr<Decoder> decoder = make_decoder(coding, budget);
  Decoded decoded;
  std::vector<char> space(room);
  while (!input.empty()) {
    std::string_view some = input.substr(0, piece);
    input.remove_prefix(some.size());
    for (;;) {
      const DecodeStep step = decoder->step(some, space);
      decoded.text.append(space.data(), step.written);
      some.remove_prefix(step.used);
      decoded.fault = step.fault;
      if (step.fault != Fault::none) return decoded;
      if (step.written == room) continue;
      REQUIRE(some.empty());
      break;
    }
  }
  decoded.whole = decoder->may_end();
  return decoded;
}
Decoded decode(Coding coding, std::string_view input) {
  Budget budget(64 * kMiB);
  Decoded decoded = decode(coding, input, input.size(), 100'000, budget);
  CHECK(budget.used() == 0);
  return decoded;
}

struct Encoding {
  const char* what;
  const char* name;  // as Content-Encoding
  Coding coding;
  std::string (*encode)(std::string_view);
};
const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> all = {
      {"gzip", "gzip", Coding::gzip, gzipped},
      {"deflate", "deflate", Coding::deflate, [](std::string_view text) { return deflated(text, 15); }},
      {"deflate without its wrapping", "deflate", Coding::deflate,
       [](std::string_view text) { return deflated(text, -15); }},
      {"zstd", "zstd", Coding::zstd, zstd_whole},
      {"zstd as a stream", "zstd", Coding::zstd, [](std::string_view text) { return zstd_streamed(text); }},
  };
  return all;
}

std::string coded(std::string_view body, const std::string& coding, const std::string& type = kLines) {
  return post(body, type, "Content-Encoding: " + coding + "\r\n");
}

std::string in_chunks(std::string_view body, std::size_t size, const std::string& coding) {
  std::string request =
      "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n"
      "Transfer-Encoding: chunked\r\nContent-Encoding: " +
      coding + "\r\n\r\n";
  std::array<char, 20> digits{};
  while (!body.empty()) {
    const std::string_view some = body.substr(0, size);
    body.remove_prefix(some.size());
    std::snprintf(digits.data(), digits.size(), "%zx\r\n", some.size());
    request.append(digits.data()).append(some).append("\r\n");
  }
  return request + "0\r\n\r\n";
}

}  // namespace

// ---- the decoders

TEST_CASE("decoder: what was encoded comes out, wherever input and room are cut") {
  for (const std::size_t size : {0UL, 1UL, 1000UL, 300'000UL}) {
    const std::string text = some_text(size);
    for (const Encoding& encoding : encodings()) {
      INFO(encoding.what, " ", size);
      const std::string input = encoding.encode(text);
      for (const auto& [piece, room] : std::vector<std::pair<std::size_t, std::size_t>>{
               {1, 1}, {1, 5000}, {7, 13}, {input.size(), 1}, {input.size(), 1'000'000}, {4096, 4096}}) {
        if (size > 1000 && piece * room < 100) continue;
        Budget budget(16 * kMiB);
        const Decoded decoded = decode(encoding.coding, input, piece, room, budget);
        CHECK(decoded.whole);
        CHECK((decoded.text == text));
        CHECK(budget.used() == 0);
      }
    }
  }
}

TEST_CASE("decoder: gzip of several members and zstd of several frames are one body") {
  const std::string a = some_text(5000);
  const std::string b = "the end";
  CHECK((decode(Coding::gzip, gzipped(a) + gzipped("") + gzipped(b)).text == a + b));
  CHECK((decode(Coding::zstd, zstd_streamed(a) + zstd_whole("") + zstd_whole(b)).text == a + b));
  const std::string skipped("\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);  // RFC 8878, 3.1.2
  CHECK((decode(Coding::zstd, skipped + zstd_whole(a) + skipped).text == a));
  for (const std::string& cut : {gzipped(a) + gzipped(b).substr(0, 12), gzipped(a) + "\x1f"}) {
    const Decoded decoded = decode(Coding::gzip, cut);
    CHECK_FALSE(decoded.whole);
  }
  CHECK_FALSE(decode(Coding::zstd, zstd_whole(a) + zstd_whole(b).substr(0, 5)).whole);
}

TEST_CASE("decoder: a body that is cut short anywhere is not whole, and one that is damaged is refused or not whole") {
  const std::string text = some_text(2000);
  for (const Encoding& encoding : encodings()) {
    INFO(encoding.what);
    const std::string input = encoding.encode(text);
    for (std::size_t size = 0; size < input.size(); ++size) {
      const Decoded decoded = decode(encoding.coding, input.substr(0, size));
      CAPTURE(size);
      CHECK_FALSE(decoded.whole);
    }
    CHECK_FALSE(decode(encoding.coding, input + "x").whole);
    CHECK(decode(encoding.coding, input + "more that is none").fault == Fault::corrupt);
  }
  CHECK(decode(Coding::gzip, text).fault == Fault::corrupt);
  CHECK(decode(Coding::zstd, text).fault == Fault::corrupt);
  CHECK(decode(Coding::gzip, deflated(text, 15)).fault == Fault::corrupt);
  std::string damaged = gzipped(text);
  damaged[damaged.size() - 6] ^= 1;  // of the checksum
  CHECK(decode(Coding::gzip, damaged).fault == Fault::corrupt);
}

TEST_CASE("decoder: the formats from before zstd's standard are refused, wherever a frame's header is cut") {
  using namespace std::string_literals;
  const std::string older = "\x27\xb5\x2f\xfd\x04\x58\x6d\x00\x00\x38hello\n"s;  // begins like a frame of version 0.7
  // A window that no version allows, and four bytes of its header more, which begin such a frame.
  const std::string cut = "\x28\xb5\x2f\xfd\x02\xfe"s + older;
  for (std::size_t piece = 1; piece <= cut.size(); ++piece) {
    Budget budget(64 * kMiB);
    CHECK(decode(Coding::zstd, older, piece, 100, budget).fault == Fault::corrupt);
    CHECK(decode(Coding::zstd, cut, piece, 100, budget).fault == Fault::window);
    CHECK(decode(Coding::zstd, zstd_whole("a") + older, piece, 100, budget).fault == Fault::corrupt);
  }
}

TEST_CASE("decoder: its memory is charged before it is taken, given back, and a window over 8 MiB is refused") {
  const std::string text = some_text(100'000);
  for (const Encoding& encoding : encodings()) {
    INFO(encoding.what);
    const std::string input = encoding.encode(text);
    Budget budget(16 * kMiB);
    std::size_t held = 0;
    {
      const std::unique_ptr<Decoder> decoder = make_decoder(encoding.coding, budget);
      CHECK(budget.used() == 0);
      std::vector<char> room(1000);
      CHECK(decoder->step(input, room).written == room.size());
      held = budget.used();
      CHECK(held > 30'000);
      CHECK(decoder->memory() == held);
    }
    CHECK(budget.used() == 0);
    // With a byte less there is no room now; in a budget that is smaller, never.
    REQUIRE(budget.try_charge(budget.limit() - held + 1));
    CHECK(decode(encoding.coding, input, input.size(), 1000, budget).fault == Fault::no_room);
    budget.give_back(budget.used());
    Budget small(6000);
    CHECK(decode(encoding.coding, input, input.size(), 1000, small).fault == Fault::too_much);
    CHECK(small.used() == 0);
  }
  CHECK(decode(Coding::zstd, zstd_streamed(text, 23)).whole);
  CHECK(decode(Coding::zstd, zstd_streamed(text, 24)).fault == Fault::window);
  Budget window(4 * kMiB);
  CHECK(decode(Coding::zstd, zstd_streamed(text, 23), 1000, 1000, window).fault == Fault::too_much);
  CHECK(decode(Coding::zstd, zstd_streamed(text, 21), 1000, 1000, window).whole);
}

// ---- the server

TEST_CASE("coding: a body in a coding is taken as what it says, alone, in chunks and byte by byte") {
  std::string lines;
  for (int i = 0; i < 50'000; ++i) lines += R"({"number":)" + std::to_string(i) + "}\n";
  for (const Encoding& encoding : encodings()) {
    INFO(encoding.what);
    House house([](Config&, sluice::Options& options) { options.queue_events = 200'000; });
    Client client(house.address());
    const std::string body = encoding.encode(lines);
    CHECK(client.ask(coded(body, encoding.name)).body.starts_with("{\"accepted\":50000,"));
    CHECK(client.ask(in_chunks(body, 1000, encoding.name)).body.starts_with("{\"accepted\":50000,"));
    CHECK(client.ask(in_chunks(body, 1'000'000, encoding.name)).status == 202);
    CHECK(client.ask(coded(encoding.encode("[1,2]"), encoding.name, kJson)).body.starts_with("{\"accepted\":2,"));
    const std::string cut = coded(encoding.encode("x\ny"), encoding.name, "text/plain");
    for (const char byte : cut) {
      client.send({&byte, 1});
    }
    CHECK(client.receive().status == 202);
    CHECK(client.ask(get("/healthz")).status == 200);  // and the next request begins where it does
    const Strings events = house.delivered();
    REQUIRE(events.size() == 150'003);
    CHECK(events[0] == "{\"number\":0}");
    CHECK(events[99'999] == "{\"number\":49999}");
    CHECK(events[150'001] == "2");
    CHECK(events.back() == "x\ny");
  }
}

TEST_CASE("coding: what log shippers send, by their documentation, is taken event by event") {
  // None of them is in Debian 12 as it is documented; the bytes are what their manuals show.
  const auto sent = [](const std::string& type, const std::string& name, const std::string& body) {
    House house;
    Client client(house.address());
    CHECK(client.ask(post(body, type, name.empty() ? "" : "Content-Encoding: " + name + "\r\n")).status == 202);
    return house.delivered();
  };
  const std::string array = R"([{"date":1449501700.215138,"log":"a"},{"date":1449501701.215138,"log":"b"}])";
  const std::string lines = "{\"date\":1449501700.215138,\"log\":\"a\"}\n{\"date\":1449501701.215138,\"log\":\"b\"}\n";
  const Strings both = {R"({"date":1449501700.215138,"log":"a"})", R"({"date":1449501701.215138,"log":"b"})"};
  CHECK(sent("application/json", "", array) == both);                       // fluent-bit: format json
  CHECK(sent("application/json", "gzip", gzipped(array)) == both);          // and compress gzip
  CHECK(sent("application/json", "", lines) == both);                       // format json_lines, to version 3.0
  CHECK(sent("application/x-ndjson", "", lines) == both);                   // and since
  CHECK(sent("application/json", "zstd", zstd_streamed(array)) == both);    // Vector: codec json, compression zstd
  CHECK(sent("application/json", "deflate", deflated(array, 15)) == both);  // compression zlib
  CHECK(sent("application/x-ndjson", "gzip", gzipped(lines)) == both);      // framing newline_delimited
  CHECK(sent("application/json; charset=utf-8", "gzip", gzipped(lines)) ==
        both);                                                        // rsyslog's omhttp: newline, compress
  CHECK(sent("application/json; charset=utf-8", "", array) == both);  // jsonarray
}

TEST_CASE("coding: requests behind one that is still being decoded are answered in their order") {
  House house;
  Client client(house.address());
  const std::string large = "\"" + std::string(kMiB / 5, 'x') + "\"\n";
  std::string lines;
  for (int i = 0; i < 20; ++i) lines += large;  // 4 MiB: sixteen turns
  const std::string request = coded(gzipped(lines), "gzip");
  client.send(post("1") + request + post("2") + request + "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" +
              coded("x", "gzip") + post("3"));
  CHECK(client.receive().status == 202);
  CHECK(client.receive().body.starts_with("{\"accepted\":20,"));
  CHECK(client.receive().status == 202);
  CHECK(client.receive().body.starts_with("{\"accepted\":20,"));
  CHECK(client.receive().status == 404);
  CHECK(client.receive().status == 400);
  CHECK(client.receive().status == 202);
  CHECK(house.delivered().size() == 43);
}

TEST_CASE("coding: names in any case, and identity any number of times, are understood; all else is 415 with what is") {
  House house;
  Client client(house.address());
  const std::string body = gzipped("1\n2\n");
  for (const char* name : {"gzip", "GZip", "x-gzip", "gzip, identity", "identity,gzip", " identity , gzip ,, ",
                           "gzip\r\nContent-Encoding: identity"}) {
    CAPTURE(name);
    CHECK(client.ask(coded(body, name)).body.starts_with("{\"accepted\":2,"));
  }
  for (const char* name : {"identity", "", "Identity, identity", ","}) {
    CAPTURE(name);
    CHECK(client.ask(coded("1\n", name)).body.starts_with("{\"accepted\":1,"));
  }
  for (const char* name : {"br", "compress", "gzip, gzip", "zstd, gzip", "gzip\r\nContent-Encoding: zstd", "gzip;q=1",
                           "aes128gcm", "gz"}) {
    CAPTURE(name);
    const Answer answer = client.ask(coded(body, name));
    CHECK(answer.status == 415);
    CHECK(answer.has("Accept-Encoding: gzip, deflate, zstd"));
  }
  CHECK(house.delivered().size() == 7 * 2 + 4);
}

TEST_CASE(
    "coding: a body that is damaged, cut short or empty inside is refused with the reason, and nothing is taken") {
  House house;
  const auto keeps = [&](const std::string& request, const std::string& detail) {
    Client client(house.address());
    const Answer answer = client.ask(request);
    CAPTURE(answer.body);
    CHECK(answer.status == 400);
    CHECK(answer.body.find(detail) != std::string::npos);
    CHECK(client.ask(get("/healthz")).status == 200);  // it has come whole, so the next begins behind it
  };
  const std::string lines = some_text(100'000);
  for (const Encoding& encoding : encodings()) {
    INFO(encoding.what);
    const std::string body = encoding.encode(lines);
    const std::string short_body = body.substr(0, body.size() - 1);
    keeps(coded(short_body, encoding.name), "the body ends before its Content-Encoding does");
    keeps(in_chunks(short_body, 100, encoding.name), "the body ends before its Content-Encoding does");
    keeps(coded(body.substr(0, 1), encoding.name), "the body ends before its Content-Encoding does");
    keeps(coded(encoding.encode(""), encoding.name), "the body is empty");
    keeps(coded("", encoding.name), "the body is empty");
    keeps(coded(encoding.encode("1\nx\n"), encoding.name), "\"line\":2");
  }
  for (const char* name : {"gzip", "deflate", "zstd"}) {
    keeps(coded("1\n2\n3\n4\n", name), "the body is not what its Content-Encoding says, or damaged");
    Client chunked(house.address());  // found before the last chunk
    CHECK(chunked.ask(in_chunks("1\n2\n3\n4\n", 100, name)).status == 400);
    CHECK(chunked.ends());
    Client early(house.address());  // which has not come whole yet
    early.send("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Encoding: " + std::string(name) +
               "\r\nContent-Length: 100\r\n\r\n1\n2\n3\n4\n");
    CHECK(early.receive().status == 400);
    CHECK(early.ends());
  }
  // Refused at the frame's header: the connection is kept only if the body has come whole by then, so it is a short
  // one.
  keeps(coded(zstd_streamed("1\n", 24), "zstd"), "the window of the zstd frame is larger than 8 MiB");
  CHECK(house.delivered().empty());
}

TEST_CASE("coding: the limit of a request is that of the decoded body, to the byte") {
  House house([](Config& config, sluice::Options&) {
    config.max_request_bytes = 1'000'000;
    config.max_event_bytes = 1000;
  });
  for (const Encoding& encoding : encodings()) {
    INFO(encoding.what);
    const auto lines = [](std::size_t size) {
      std::string all;
      while (all.size() < size) all += std::string(499, '7') + "\n";
      return all.substr(0, size);
    };
    const auto ask = [&](const std::string& request) { return Client(house.address()).ask(request).status; };
    CHECK(ask(coded(encoding.encode(lines(1'000'000)), encoding.name)) == 202);
    CHECK(ask(coded(encoding.encode(lines(1'000'001)), encoding.name)) == 413);
    CHECK(ask(in_chunks(encoding.encode(lines(1'000'001)), 500, encoding.name)) == 413);
    CHECK(ask(coded(encoding.encode(lines(1000)), encoding.name, "text/plain")) == 202);
    CHECK(ask(coded(encoding.encode(lines(1001)), encoding.name, "text/plain")) == 413);
  }
  // What cannot be compressed grows a little, and is taken at the limit all the same.
  std::string noise;
  for (unsigned n = 1; noise.size() < 1000; n = n * 1664525U + 1013904223U) noise += static_cast<char>(n >> 24U);
  REQUIRE(gzipped(noise).size() > 1000);
  Client client(house.address());
  CHECK(client.ask(coded(gzipped(noise), "gzip", "text/plain")).status == 202);
  // An input that goes on for ever and says nothing: blocks without a byte, and members without one (of which the
  // thread sanitizer takes longer than the client waits).
  std::string nothing("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  while (nothing.size() < 1'100'000) nothing += std::string("\0\0\0\xff\xff", 5);
  CHECK(Client(house.address()).ask(coded(nothing, "gzip")).status == 413);
#ifndef __SANITIZE_THREAD__
  nothing.clear();
  while (nothing.size() < 1'100'000) nothing += gzipped("");
  CHECK(client.ask(coded(nothing, "gzip")).status == 413);
#endif
}

TEST_CASE("coding: a gigabyte of zeros in a megabyte is refused within the bound, and others are served meanwhile") {
  std::string member;  // 64 MiB each
  {
    const std::string zeros(64 * kMiB, '\0');
    member = gzipped(zeros);
  }
  std::string bomb;
  for (int i = 0; i < 16; ++i) bomb += member;
  REQUIRE(bomb.size() < kMiB + 100'000);
  House house([](Config& config, sluice::Options&) { config.receive_bytes = 12 * kMiB; });
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Client>(house.address()));
    clients.back()->send(coded(bomb, "gzip"));
  }
  Client other(house.address());
  for (int i = 0; i < 20; ++i) CHECK(other.ask(get("/healthz")).status == 200);
  int too_large = 0;
  for (const auto& client : clients) {
    const int status = client->receive().status;
    INFO(status);
    CHECK((status == 413 || status == 429));  // together there may be no room for them
    if (status == 413) ++too_large;
  }
  CHECK(too_large >= 1);
  CHECK(house.delivered().empty());
}

TEST_CASE("coding: where there is never memory to decode, the answer is not to come back") {
  House house([](Config& config, sluice::Options&) {
    config.receive_bytes = 3 * kMiB;
    config.max_request_bytes = 3 * kMiB;
  });
  const std::string lines = some_text(100'000);
  Client client(house.address());
  CHECK(client.ask(coded(zstd_streamed(lines, 23), "zstd")).status == 413);  // the window alone
  CHECK(client.ask(coded(zstd_streamed(lines, 20), "zstd")).status == 202);
  const std::string large = some_text(3 * kMiB - 10);
  CHECK(client.ask(coded(zstd_streamed(large, 20), "zstd")).status == 413);  // body and window together
}
