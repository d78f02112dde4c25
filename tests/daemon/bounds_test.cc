// The bounds: exactly as many events as the queue holds are taken, the next is told to come back, and no client,
// whatever it sends or does not read, makes the daemon larger than its flags say. Measures memory, so release builds
// only.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/load.h"
#include "support/peer.h"

namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::Client;
using test::Daemon;
using test::get;
using test::post;

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::size_t kSlack = 4 * kMiB;
constexpr std::size_t kMostPosts = 200'000;  // 16 MiB would be 84 bytes each: less than an event's overhead

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// A zstd frame by hand (RFC 8878): blocks of 128 KiB that are one byte repeated, four bytes each.
std::string zstd_of(char byte, std::size_t mebibytes) {
  std::string frame("\x28\xb5\x2f\xfd\x00\x50", 6);  // a window of 1 MiB, the size is not said
  for (std::size_t block = 8 * mebibytes; block > 0; --block) {
    const std::size_t header = (block == 1 ? 1U : 0U) | 1U << 1U | std::size_t{128 << 10} << 3U;
    for (unsigned shift = 0; shift < 24; shift += 8) frame += static_cast<char>(header >> shift);
    frame += byte;
  }
  return frame;
}

// A daemon that delivers nothing and may hold so many bytes, and what it measured before anybody came.
struct Bounded {
  explicit Bounded(std::size_t mebibytes = 16)
      : daemon({"--state-dir", "none", "--sink", "null:?hang=true", "-t", "0", "--workers", "2", "--queue-events",
                "10000000", "--queue-bytes", fmt::format("{}MiB", mebibytes)}),
        queue_bytes(mebibytes * kMiB) {
    // Served once, so that what each first request costs is not counted as growth.
    REQUIRE(test::ask_once(daemon.address(), get("/healthz")).status == 200);
    REQUIRE(test::ask_once(daemon.admin(), get("/status")).status == 200);
    idle = daemon.process().resident();
    daemon.process().forget_peak();
  }

  // Still serving, and never larger than idle and its bound.
  void check() {
    CHECK(test::ask_once(daemon.admin(), get("/healthz")).status == 200);
    const std::size_t peak = daemon.process().peak_resident();
    MESSAGE("idle ", idle >> 10U, " KiB, peak ", peak >> 10U, " KiB: grown by ", (peak - idle) >> 10U, " KiB of ",
            (queue_bytes + kSlack) >> 10U);
    CHECK(peak <= idle + queue_bytes + kSlack);
  }

  Daemon daemon;
  std::size_t queue_bytes;
  std::size_t idle = 0;
};

// Sends as much of `bytes` as is taken at once, again and again to each connection, until none of them takes any more.
void push_to_all(std::vector<test::Fd>& connections, const std::vector<std::string_view>& bytes) {
  std::vector<std::size_t> done(connections.size());
  std::vector<pollfd> waits;
  for (std::size_t i = 0; i < connections.size(); ++i) waits.push_back({connections[i].get(), POLLOUT, 0});
  // A connection that takes nothing for so long is not being read.
  while (::poll(waits.data(), waits.size(), 300) > 0) {
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      const ssize_t n = ::send(waits[i].fd, bytes[i].data() + done[i],
                               std::min(bytes[i].size() - done[i], 64 * std::size_t{1024}), MSG_NOSIGNAL);
      if (n > 0) done[i] += static_cast<std::size_t>(n);
      if (n < 0 || done[i] == bytes[i].size()) waits[i].fd = -1;  // refused, or all is sent
    }
  }
}

std::vector<test::Fd> connections_to(const std::string& address, std::size_t number, int receive_bytes = 0) {
  std::vector<test::Fd> all;
  for (std::size_t i = 0; i < number; ++i) {
    all.push_back(test::connect_to(address, SOCK_STREAM | SOCK_NONBLOCK, receive_bytes));
  }
  return all;
}

// Posts this, on one connection that is opened again where it is closed, until the queue is full.
std::size_t post_until_full(const Daemon& daemon, const std::string& request) {
  std::size_t taken = 0;
  for (;;) {
    Client client(daemon.address());
    for (;;) {
      const Answer answer = client.ask(request);
      if (answer.status == 429) return taken;
      if (answer.status != 202) FAIL("neither taken nor told to come back: ", answer.status, " ", answer.body);
      if (++taken == kMostPosts) FAIL("nothing is ever full");
    }
  }
}

}  // namespace

TEST_SUITE("daemon.bounds") {
  TEST_CASE(
      "bounds: a queue of 1000 takes exactly 1000, the next is told to come back, a batch is taken whole or not") {
    Daemon daemon({"--state-dir", "none", "--sink", "null:?hang=true", "--queue-events", "1000", "--overflow", "reject",
                   "-t", "0"});
    Client client(daemon.address());
    for (int i = 0; i < 995; ++i) REQUIRE(client.ask(post("application/json", "1")).status == 202);
    CHECK(client.ask(post("application/x-ndjson", repeated("1\n", 6))).status == 429);
    for (int i = 0; i < 5; ++i) CHECK(client.ask(post("application/json", "1")).status == 202);
    for (int i = 0; i < 5; ++i) {
      const Answer answer = client.ask(post("application/json", "1"));
      CHECK(answer.status == 429);
      CHECK(answer.header("retry-after") == "1");
      CHECK(answer.header("content-type") == "application/problem+json");
    }
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 4);
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 1000);
    CHECK(ended.report->lost == 1000);
  }

  TEST_CASE("bounds: of 32 clients at a time exactly 1000 are taken; 100000 refusals leave the memory where it was") {
    for (const test::Mode mode : {test::Mode::single, test::Mode::pipelined}) {
      Daemon daemon({"--state-dir", "none", "--sink", "null:?hang=true", "--queue-events", "1000", "-t", "0"});
      test::LoadPlan plan;
      plan.address = daemon.address();
      plan.mode = mode;
      plan.most_events = 10'000;
      test::Load filling(plan);
      CHECK(filling.fates().acknowledged == 1000);
      CHECK(filling.fates().answers.at(429) == 9000);
      const std::size_t before = daemon.process().resident();

      plan.most_events = 100'000;
      test::Load refused(plan);
      CHECK(refused.fates().acknowledged == 0);
      CHECK(refused.fates().answers.at(429) == 100'000);
      const std::size_t after = daemon.process().resident();
      MESSAGE("resident before ", before >> 10U, " KiB, after ", after >> 10U, " KiB");
      CHECK(after <= before + kSlack);
      CHECK(before <= after + kSlack);
      CHECK(daemon.stop().report->accepted == 1000);
    }
  }

  TEST_CASE("bounds: a thousand connections that each send most of a large body and wait") {
    Bounded it;
    const std::string most =
        post("application/octet-stream", std::string(std::size_t{200} << 10U, 'x')).substr(0, std::size_t{190} << 10U);
    auto connections = connections_to(it.daemon.address(), 1000);
    push_to_all(connections, std::vector<std::string_view>(connections.size(), most));
    it.check();
    // Somebody who is as large as they and comes when they have gone is served.
    connections.clear();
    const std::string whole = post("application/octet-stream", std::string(std::size_t{200} << 10U, 'x'));
    Answer answer;
    const auto limit = test::Clock::now() + 5s;
    while (answer.status != 202 && test::Clock::now() < limit) answer = test::ask_once(it.daemon.address(), whole);
    CHECK(answer.status == 202);
  }

  TEST_CASE("bounds: a thousand connections that each send most of a head and wait") {
    Bounded it(4);  // small, or what they send would fit
    const std::string most = "POST /v1/events HTTP/1.1\r\nHost: test\r\nX: " + std::string(15'000, 'x');
    auto connections = connections_to(it.daemon.address(), 1000);
    push_to_all(connections, std::vector<std::string_view>(connections.size(), most));
    it.check();
  }

  TEST_CASE("bounds: chunks that announce much and bring little, from a thousand connections") {
    Bounded it(4);  // small, or what they send would fit
    std::string most = "POST /v1/events HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    most += repeated("1\r\nx\r\n", 20'000) + "30000\r\nx";
    auto connections = connections_to(it.daemon.address(), 1000);
    push_to_all(connections, std::vector<std::string_view>(connections.size(), most));
    it.check();
  }

  TEST_CASE("bounds: the largest bodies, until the queue is full") {
    Bounded it;
    const std::size_t taken = post_until_full(it.daemon, post("text/plain", std::string(std::size_t{256} << 10U, 'x')));
    CHECK(taken * 256 * 1024 <= it.queue_bytes);
    CHECK(taken * 256 * 1024 >= it.queue_bytes / 2);  // most of it is payload
    it.check();
  }

  TEST_CASE("bounds: events of attributes only, one a request") {
    Bounded it;
    const std::string attributes = "x/" + std::string(250, 'y');
    const std::string headers = repeated("X-Attribute: 0123456789012345678901234567890123456789\r\n", 200);
    const std::size_t taken = post_until_full(it.daemon, post(attributes, "1", headers));
    CHECK(taken * attributes.size() <= it.queue_bytes);
    it.check();
  }

  TEST_CASE("bounds: events of one byte, many a request") {
    for (const std::size_t lines : {2, 100, 10'000}) {
      INFO(lines, " lines");
      Bounded it;
      const std::size_t taken = post_until_full(it.daemon, post("application/x-ndjson", repeated("1\n", lines)));
      CHECK(taken > 0);
      it.check();
    }
  }

  TEST_CASE("bounds: events of one byte in the largest bodies, fifty at a time") {
    Bounded it;
    const std::string request =
        post("application/x-ndjson", repeated("1\n", 2 * kMiB));  // 4 MiB: all that may be received
    auto connections = connections_to(it.daemon.address(), 50);
    push_to_all(connections, std::vector<std::string_view>(connections.size(), request));
    it.check();
  }

  TEST_CASE("bounds: a gigabyte in 32 KiB, from one client and from fifty at a time") {
    Bounded it(32);
    const std::string bomb = post("application/x-ndjson", zstd_of(' ', 1024), "Content-Encoding: zstd\r\n");
    REQUIRE(bomb.size() < 33'000);
    CHECK(test::ask_once(it.daemon.address(), bomb).status == 413);
    auto connections = connections_to(it.daemon.address(), 50);
    push_to_all(connections, std::vector<std::string_view>(connections.size(), bomb));
    // What is being decoded keeps nobody else waiting for long.
    for (int i = 0; i < 20; ++i) {
      const auto asked = test::Clock::now();
      CHECK(test::ask_once(it.daemon.address(), get("/healthz")).status == 200);
      CHECK(test::Clock::now() - asked < 500ms);
    }
    it.check();
    connections.clear();
    const std::string cut = post("application/x-ndjson", zstd_of(' ', 1).substr(0, 20), "Content-Encoding: zstd\r\n");
    CHECK(test::ask_once(it.daemon.address(), cut).status == 400);  // and still served
  }

  TEST_CASE("bounds: clients that pipeline and never read") {
    const std::string pages = repeated(get("/healthz"), 50'000);
    const std::string events = repeated(post("application/json", "1"), 50'000);
    const std::string wrong = repeated(post("application/json", "{"), 50'000);
    for (const std::size_t number : {1, 200}) {
      INFO(number, " clients");
      Bounded it;
      auto connections = connections_to(it.daemon.address(), number, 4096);
      std::vector<std::string_view> bytes;
      for (std::size_t i = 0; i < number; ++i) bytes.push_back(i % 3 == 0 ? events : i % 3 == 1 ? wrong : pages);
      push_to_all(connections, bytes);
      it.check();
    }
  }

  TEST_CASE("bounds: for a client that never reads the kernel keeps 256 KiB of answers, and no more") {
    // The answers are short and the kernel charges whole buffers for them: its limit is passed by the last of these.
    constexpr std::size_t kMost = 256U << 10U;
    constexpr std::size_t kOneBuffer = 128U << 10U;
    Bounded it;
    for (const std::string& asked : {get("/healthz"), post("application/json", "{")}) {
      const std::string bytes = repeated(asked, 50'000);
      auto connections = connections_to(it.daemon.address(), 3);  // with the windows that a loopback gives
      push_to_all(connections, {3, bytes});
      for (const test::Fd& one : connections) {
        const test::SendMemory memory = test::peer_send_memory(one.get());
        MESSAGE("held ", memory.held, " of ", memory.limit);
        CHECK(memory.held > 0);
        CHECK(memory.limit <= kMost);
        CHECK(memory.held <= kMost + kOneBuffer);
      }
    }
    it.check();
  }
}
