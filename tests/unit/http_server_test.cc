// The server by its sockets: every answer, however the bytes arrive, and what it may hold.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "http/server.h"
#include "http_house.h"
#include "http_support.h"
#include "sluice/error.h"
#include "sluice/tracker.h"

namespace {

using namespace std::chrono_literals;
using namespace http_support;

std::string chunked(const std::vector<std::string>& parts, const std::string& type = "text/plain") {
  std::string text =
      "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: " + type + "\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& part : parts) {
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    text += size + part + "\r\n";
  }
  return text + "0\r\n\r\n";
}

}  // namespace

TEST_CASE("http: an event is answered 202 with its id, and delivered") {
  House house;
  Client client(house.address());
  const Answer answer = client.ask(post("{\"a\":1}", "application/json"));
  CHECK(answer.status == 202);
  const std::string id = to_string(sluice::EventId{house.tracker->run(), 1});
  CHECK(answer.body == "{\"accepted\":1,\"first\":\"" + id + "\",\"last\":\"" + id + "\"}");
  CHECK(answer.has("Content-Type: application/json"));
  CHECK(answer.head.find("Date: ") != std::string::npos);
  CHECK(house.delivered() == Strings{"{\"a\":1}"});
  CHECK(house.types == Strings{"application/json"});
  CHECK(house.server->counters().answered.at(202) == 1);
}

TEST_CASE("http: content types are understood in any case and with parameters; what is none of ours is opaque") {
  House house;
  Client client(house.address());
  CHECK(client.ask(post("1", "Application/JSON; charset=utf-8")).status == 202);
  CHECK(client.ask(post("2\n3\n", "APPLICATION/X-NDJSON ;x")).status == 202);
  CHECK(client.ask(post("not json", "Text/Plain; a=B")).status == 202);
  CHECK(client.ask(post("none", "")).status == 202);
  CHECK(client.ask(post("{", "Application/CloudEvents+JSON ;x")).status == 400);
  CHECK(client.ask(post("{", "application/cloudevents-batch+json; charset=utf-8")).status == 400);
  CHECK(client.ask(post("<", "application/cloudevents+xml")).status == 202);
  CHECK(house.delivered() == Strings{"1", "2", "3", "not json", "none", "<"});
  CHECK(house.types == Strings{"application/json", "application/json", "application/json", "Text/Plain; a=B", "",
                               "application/cloudevents+xml"});
}

TEST_CASE("http: NDJSON is taken whole, or not at all and the bad line is named") {
  House house;
  Client client(house.address());
  const Answer taken = client.ask(post("{\"n\":1}\n\n{\"n\":2}\r\n[3]", "application/x-ndjson"));
  CHECK(taken.status == 202);
  CHECK(taken.body.starts_with("{\"accepted\":3,"));

  const auto refused = [&](const std::string& lines, int status, int line) {
    Answer answer = client.ask(post(lines, "application/x-ndjson"));
    CAPTURE(lines);
    CHECK(answer.status == status);
    CHECK(answer.has("Content-Type: application/problem+json"));
    CHECK((answer.body.find("\"line\":" + std::to_string(line) + "}") != std::string::npos) == (line != 0));
    return answer;
  };
  const Answer answer = refused("1\n2\n{]\n4\n5\n", 400, 3);
  CHECK(answer.body == R"({"title":"Bad Request","status":400,"detail":"expected a name at byte 2","line":3})");
  refused("1\n2\n\"\xff\"\n4\n5\n", 400, 3);
  refused("1\n2\n1 2\n4\n5\n", 400, 3);
  refused("1\n2\n[\n]\n5\n", 400, 3);
  refused("1\n\n\r\n  \nx\n", 400, 5);
  refused("\n\r\n\n", 400, 0);
  refused("1\n" + std::string(300 << 10, '7') + "\n", 413, 2);
  CHECK(house.delivered() == Strings{"{\"n\":1}", "{\"n\":2}", "[3]"});
}

TEST_CASE(
    "http: a refused request is answered by its own status, takes nothing, and keeps the connection where it can") {
  House house;
  const auto keeps = [&](const std::string& request, int status) {
    Client client(house.address());
    CAPTURE(request);
    Answer answer = client.ask(request);
    CHECK(answer.status == status);
    CHECK(answer.body.find("\"title\":\"") != std::string::npos);
    CHECK(answer.body.find("\"detail\":\"") != std::string::npos);
    CHECK(client.ask(get("/healthz")).status == 200);
    return answer;
  };
  const auto closes = [&](const std::string& request, int status) {
    Client client(house.address());
    CAPTURE(request.substr(0, 200));
    Answer answer = client.ask(request);
    CHECK(answer.status == status);
    CHECK(answer.has("Connection: close"));
    CHECK(client.ends());
    return answer;
  };
  keeps(post(""), 400);
  keeps(post("{", "application/json"), 400);
  keeps(post("\"\xff\"", "application/json"), 400);
  keeps(post(std::string(100'000, '['), "application/json"), 400);
  keeps(get("/nothing"), 404);
  keeps("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 404);
  CHECK(keeps(get("/v1/events"), 405).has("Allow: POST, OPTIONS"));
  CHECK(keeps("DELETE /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 405).has("Allow: GET, HEAD, OPTIONS"));
  keeps(post("x", "text/plain", "Content-Encoding: br\r\n"), 415);
  keeps(get("/broken"), 500);
  closes("POST /v1/events HTTP/1.1\r\nHost: a\r\n\r\n", 411);
  closes(post(std::string((256 << 10) + 1, 'x')), 413);
  closes("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n", 413);
  closes(chunked({std::string(200 << 10, 'x'), std::string(100 << 10, 'x')}), 413);
  closes(post("x", std::string(256, 't')), 413);
  closes(get("/" + std::string(9000, 'x')), 414);
  closes("GET /" + std::string(20'000, 'x'), 414);
  closes("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x'), 431);
  closes("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505);
  closes("GET /healthz HTTP/1.1\r\n\r\n", 400);
  closes("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
  closes("GET /healthz HTTP/1.1\nHost: a\n\n", 400);
  closes("GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400);
  closes("GET /healthz HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400);
  closes("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
  closes("POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n", 400);
  closes("POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(20'000, 'x'), 431);
  closes(std::string("\x16\x03\x01\x02\x00", 5), 400);
  CHECK(house.delivered().empty());
}

TEST_CASE("http: headers of just under 16 KiB are taken") {
  House house;
  Client client(house.address());
  CHECK(client.ask(post("x", "text/plain", "X: " + std::string(16'200, 'x') + "\r\n")).status == 202);
}

TEST_CASE("http: pipelined requests are answered in their order, in one write") {
  House house;
  Client client(house.address());
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += post(std::to_string(i)) + (i % 10 == 0 ? get("/healthz") : "");
  client.send(requests);
  Strings expected;
  for (int i = 0; i < 200; ++i) {
    const Answer answer = client.receive();
    REQUIRE(answer.status == 202);
    REQUIRE(answer.body.find("-" + std::to_string(i + 1) + "\"") != std::string::npos);
    if (i % 10 == 0) REQUIRE(client.receive().body == "ok\n");
    expected.push_back(std::to_string(i));
  }
  CHECK(house.delivered() == expected);
}

TEST_CASE("http: the answers are the same wherever the bytes are cut") {
  House house([](Config&, sluice::Options& options) { options.queue_events = 1 << 20; });
  const std::string requests = "\r\n" + post("one") + chunked({"t", "wo"}) + get("/healthz") +
                               post("1\n2\r\n", "application/x-ndjson") +
                               "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd" +
                               post("{", "application/json") + post("end", "text/plain", "Connection: close\r\n");
  const auto check = [](Client& client) {
    for (const int status : {202, 202, 200, 202, 404, 400, 202}) REQUIRE(client.receive().status == status);
    REQUIRE(client.ends());
  };
  for (std::size_t cut = 1; cut < requests.size(); ++cut) {
    CAPTURE(cut);
    Client client(house.address());
    client.send(requests.substr(0, cut));
    // The second part is sent once the first has been read, as far as one can see from here: its answers, or its
    // silence.
    pollfd waited{client.fd(), POLLIN, 0};
    (void)::poll(&waited, 1, 1);
    client.send(requests.substr(cut));
    check(client);
  }
  Client bytewise(house.address());
  for (const char byte : requests) bytewise.send({&byte, 1});
  check(bytewise);
  const Strings delivered = house.delivered();
  REQUIRE(delivered.size() == 5 * requests.size());
  for (std::size_t i = 0; i < delivered.size(); i += 5) {
    CHECK(Strings(delivered.begin() + static_cast<std::ptrdiff_t>(i),
                  delivered.begin() + static_cast<std::ptrdiff_t>(i) + 5) == Strings{"one", "two", "1", "2", "end"});
  }
}

TEST_CASE("http: large bodies arrive whole, with a length or in chunks") {
  House house(
      [](Config& config, sluice::Options& options) { config.max_event_bytes = options.max_event_bytes = 4 << 20; });
  Client client(house.address());
  std::string body;
  for (int i = 0; body.size() < (3U << 20U); ++i) body += std::to_string(i) + ",";
  CHECK(client.ask(post(body)).status == 202);
  Strings parts;
  for (std::size_t at = 0; at < body.size(); at += 99'991) parts.push_back(body.substr(at, 99'991));
  CHECK(client.ask(chunked(parts)).status == 202);
  CHECK((house.delivered() == Strings{body, body}));
}

TEST_CASE("http: who expects a 100 gets it before the body, and only if the body is wanted") {
  House house;
  Client client(house.address());
  const std::string head = "POST /v1/events HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ";
  CHECK(client.ask(head + "3\r\n\r\n").status == 100);
  CHECK(client.ask("abc").status == 202);
  CHECK(client.ask(head + "3\r\n\r\nabc").status == 202);
  Client other(house.address());
  CHECK(other.ask(head + "99999999\r\n\r\n").status == 413);
  CHECK(other.ends());
}

TEST_CASE("http: staying open is as version and Connection say") {
  House house;
  {
    Client client(house.address());
    CHECK(client.ask("GET /healthz HTTP/1.0\r\n\r\n").has("Connection: close"));
    CHECK(client.ends());
  }
  {
    Client client(house.address());
    CHECK(client.ask("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").has("Connection: keep-alive"));
    CHECK(client.ask(get("/healthz?x=1")).status == 200);
    client.send("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(client.receive(false).status == 404);
    client.send("HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    CHECK(client.receive(false).has("Content-Length: 3"));  // and no body
    CHECK(client.ends());
  }
  Client half(house.address());
  half.send(post("last"));
  ::shutdown(half.fd(), SHUT_WR);
  CHECK(half.receive().status == 202);
  CHECK(half.ends());
}

TEST_CASE("http: full is 429 with Retry-After on a connection that stays; closed is 503") {
  House house([](Config&, sluice::Options& options) { options.queue_events = 2; });
  house.held = true;
  Client client(house.address());
  CHECK(client.ask(post("1")).status == 202);
  CHECK(client.ask(post("2\n3\n", "application/x-ndjson")).status == 429);  // whole or not at all
  CHECK(client.ask(post("1\n2\n3\n", "application/x-ndjson")).status == 413);
  CHECK(client.ask(post("2")).status == 202);
  const Answer full = client.ask(post("3"));
  CHECK(full.status == 429);
  CHECK(full.has("Retry-After: 1"));
  CHECK(house.delivered() == Strings{"1", "2"});
  const Answer closed = client.ask(post("4"));
  CHECK(closed.status == 503);
  CHECK(closed.has("Retry-After: 1"));
  CHECK(closed.has("Connection: close"));
  CHECK(client.ends());
}

TEST_CASE("http: an admin server takes no events") {
  Config config;
  config.listen = {{"127.0.0.1", 0, ""}};
  Server server(config);
  Client client(server.addresses().front());
  CHECK(client.ask(post("x")).status == 404);
}

TEST_CASE("http: one connection too many is told so") {
  House house([](Config& config, sluice::Options&) { config.max_connections = 2; });
  {
    Client one(house.address());
    Client two(house.address());
    const std::string request = get("/healthz");
    one.send(request.substr(0, 20));
    two.send(request.substr(0, 20));
    CHECK(eventually([&] { return house.server->counters().answers_owed == 2; }));
    Client three(house.address());
    const Answer answer = three.ask(post("x"));
    CHECK(answer.status == 503);
    CHECK(answer.has("Connection: close"));
    CHECK(three.ends());
    CHECK(two.ask(request.substr(20)).status == 200);
  }
  CHECK(eventually([&] { return house.server->counters().connections == 0; }));
  Client four(house.address());
  CHECK(four.ask(get("/healthz")).status == 200);
}

TEST_CASE("http: without a descriptor left, accepting pauses with one complaint, and goes on when there is one") {
  std::atomic<int> complaints{0};
  House house([&](Config& config, sluice::Options&) {
    config.log = [&](sluice::LogLevel, std::string_view line) { complaints += line.starts_with("accept on ") ? 1 : 0; };
  });
  Client before(house.address());
  CHECK(before.ask(get("/healthz")).status == 200);

  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const int next = ::dup(fd);
  ::close(next);
  rlimit none_left = limit;
  none_left.rlim_cur = static_cast<rlim_t>(next);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none_left) == 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(house.address().substr(house.address().rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool connected = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  const bool complained = eventually([&] { return complaints > 0; });
  const int others = before.ask(get("/healthz")).status;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  CHECK(connected);
  CHECK(complained);
  CHECK(others == 200);
  Client client(fd);
  CHECK(client.ask(get("/healthz")).status == 200);
  CHECK(complaints == 1);
}

TEST_CASE("http: descriptors above the server's share stay free, and who waits is accepted when one below it is") {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::close(fd);
  constexpr std::size_t own = 40;  // what the server, the tracker and two clients have at least, and then some
  const auto share = static_cast<std::size_t>(fd) + own;
  std::atomic<int> complaints{0};
  House house([&](Config& config, sluice::Options&) {
    config.max_descriptors = share;
    config.log = [&](sluice::LogLevel, std::string_view line) { complaints += line.starts_with("accept on ") ? 1 : 0; };
  });
  const auto lowest_free = [] {
    const int lowest = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::close(lowest);
    return static_cast<std::size_t>(lowest);
  };
  std::deque<Client> clients;
  while (lowest_free() + 2 < share) {  // a client has one here as well
    REQUIRE(clients.emplace_back(house.address()).ask(get("/healthz")).status == 200);
  }
  while (complaints == 0 && clients.size() < own) clients.emplace_back(house.address()).send(get("/healthz"));
  CHECK(eventually([&] { return complaints == 1; }));
  Client waits(house.address());
  waits.send(get("/healthz"));
  CHECK(clients.front().ask(get("/healthz")).status == 200);
  CHECK(waits.silent());
  clients.clear();
  CHECK(waits.receive().status == 200);
  CHECK(complaints == 1);
}

TEST_CASE("http: a server that could never accept a connection does not start") {
  Config config;
  config.listen = {{"127.0.0.1", 0, ""}};
  config.max_descriptors = 3;
  try {
    const Server server(config);
    FAIL("it has started");
  } catch (const sluice::StartError& error) {
    CHECK(error.kind() == sluice::StartError::Kind::unusable);
    CHECK(std::string_view(error.what()).find("too few files") != std::string_view::npos);
  }
}

TEST_CASE("http: its threads are called by their name") {
  House house([](Config& config, sluice::Options&) {
    config.thread_name = "intake";
    config.threads = 2;
  });
  const auto named = [](const std::string& name) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string is;
      std::getline(std::ifstream(task.path() / "comm"), is);
      if (is == name) return true;
    }
    return false;
  };
  CHECK(eventually([&] { return named("intake-0") && named("intake-1"); }));
}

TEST_CASE("http: many threads serve many clients") {
  House house([](Config& config, sluice::Options&) { config.threads = 3; });
  {
    std::vector<std::jthread> clients;
    std::atomic<int> taken{0};
    for (int c = 0; c < 6; ++c) {
      clients.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          Client client(house.address());
          for (int j = 0; j < 10; ++j) taken += client.ask(post("x")).status == 202 ? 1 : 0;
        }
      });
    }
    clients.clear();
    CHECK(taken == 600);
  }
  CHECK(house.server->counters().answered.at(202) == 600);
  CHECK(house.delivered().size() == 600);
}

// ---- time

TEST_CASE("http: a request that does not get on is answered 408, an idle connection is closed quietly") {
  House house([](Config& config, sluice::Options&) { config.request_timeout = config.idle_timeout = 60ms; });
  Client idle(house.address());
  Client head(house.address());
  Client body(house.address());
  Client chunks(house.address());
  head.send("POST /v1/ev");
  body.send(post("12345").substr(0, post("12345").size() - 2));
  chunks.send("POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  for (Client* slow : {&head, &body, &chunks}) {
    const Answer answer = slow->receive();
    CHECK(answer.status == 408);
    CHECK(answer.has("Connection: close"));
    CHECK(slow->ends());
  }
  CHECK(idle.ends());
  CHECK(house.delivered().empty());
}

TEST_CASE("http: a slow body that gets on is taken, however long it takes") {
  House house([](Config& config, sluice::Options&) { config.request_timeout = 200ms; });
  Client client(house.address());
  const std::string request = post(std::string(200'000, 'x'));
  const auto begin = Clock::now();
  for (std::size_t at = 0; at < request.size(); at += 20'000) {
    client.send(std::string_view(request).substr(at, 20'000));
    if (at < 160'000) {
      pollfd nothing{client.fd(), POLLIN, 0};
      CHECK(::poll(&nothing, 1, 60) == 0);
    }
  }
  CHECK(client.receive().status == 202);
  CHECK(Clock::now() - begin > 400ms);
}

TEST_CASE("http: a body that gets on, but not in all the time that a request has, is answered 408") {
  House house([](Config& config, sluice::Options&) {
    config.request_timeout = 100ms;
    config.max_event_bytes = 4U << 20U;
  });
  Client client(house.address());
  constexpr std::size_t kLength = 3'000'000;
  client.send("POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(kLength) + "\r\n\r\n");
  std::size_t sent = 0;
  for (pollfd answered{client.fd(), POLLIN, 0}; ::poll(&answered, 1, 2) == 0 && sent < kLength;) {
    // Faster and faster, so that each time-out brings enough: all of it would be there after two seconds.
    const std::size_t more = std::min(kLength - sent, std::max<std::size_t>(700, sent / 250));
    client.send(std::string(more, 'x'));
    sent += more;
  }
  CHECK(client.receive().status == 408);
}

TEST_CASE("http: who pipelines and never reads is not read either, and is closed in the end") {
  House house([](Config& config, sluice::Options&) {
    config.request_timeout = config.idle_timeout = 100ms;
    config.receive_bytes = 256 << 10;
  });
  Client client(house.address());
  std::string many;
  for (int i = 0; i < 1000; ++i) many += get("/large");
  std::size_t sent = 0;
  for (const auto end = Clock::now() + kPatience; Clock::now() < end;) {
    const ssize_t size = ::send(client.fd(), many.data(), many.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size > 0) sent += static_cast<std::size_t>(size);
    if (size < 0 && errno != EAGAIN) break;
    if (size < 0) {
      pollfd waited{client.fd(), POLLOUT, 0};
      (void)::poll(&waited, 1, 1000);
    }
  }
  CHECK(sent > 0);
  CHECK(eventually([&] { return house.server->counters().connections == 0; }));
  CHECK(house.server->counters().answers_owed == 0);
}

TEST_CASE("http: answers that did not fit at once arrive, in order, when the client reads") {
  House house;
  Client client(house.address());
  const int small = 32768;
  ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  std::jthread writer([&] {
    for (int i = 0; i < 500; ++i) client.send(get("/large") + get("/healthz"));
  });
  for (int i = 0; i < 500; ++i) {
    REQUIRE(client.receive().body.size() == 12'000);
    REQUIRE(client.receive().body == "ok\n");
  }
}

// ---- the budget

TEST_CASE("http: bodies on their way are charged; who finds no room gets 429, and room comes back") {
  House house([](Config& config, sluice::Options&) { config.receive_bytes = 300 << 10; });
  const std::string body(200 << 10, 'x');
  const std::string request = post(body);
  {
    Client first(house.address());
    first.send(std::string_view(request).substr(0, request.size() - 1));  // holds 200 KiB
    CHECK(eventually([&] { return house.server->counters().answers_owed == 1; }));
    Client second(house.address());
    CHECK(second.ask(post("small")).status == 202);  // needs no room: it is there at once
    std::optional<Answer> refused;
    CHECK(eventually([&] {  // the first one's bytes may still be on their way
      Client third(house.address());
      third.send(std::string_view(request).substr(0, request.size() - 1));
      pollfd waited{third.fd(), POLLIN, 0};
      if (::poll(&waited, 1, 1000) != 1) return false;
      refused = third.receive();
      return true;
    }));
    REQUIRE(refused.has_value());
    CHECK(refused->status == 429);
    CHECK(refused->has("Retry-After: 1"));
    CHECK(refused->has("Connection: close"));
    CHECK(first.ask("x").status == 202);
  }
  Client again(house.address());
  CHECK(again.ask(request).status == 202);
}

TEST_CASE("http: lines by the million are refused, not listed") {
  House house([](Config& config, sluice::Options&) { config.receive_bytes = 16 << 20; });
  Client client(house.address());
  std::string lines;
  for (int i = 0; i < 2'000'000; ++i) lines += "1\n";
  CHECK(client.ask(post(lines, "application/x-ndjson")).status == 413);
  CHECK(house.delivered().empty());
}

TEST_CASE("http: the end of a server waits for nobody") {
  auto house = std::make_unique<House>();
  Client half(house->address());
  Client idle(house->address());
  half.send("POST /v1/ev");
  CHECK(eventually([&] { return house->server->counters().answers_owed == 1; }));
  const auto begin = Clock::now();
  house->server.reset();
  CHECK(Clock::now() - begin < 1s);
  CHECK(half.ends());
  CHECK(idle.ends());
}
