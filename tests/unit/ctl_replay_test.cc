// sluicectl's replay: which events travel together, how many requests and writes that takes, what it remembers.
#include <doctest/doctest.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "ctl/batch.h"
#include "ctl/commands.h"
#include "ctl/place.h"
#include "ctl/post.h"
#include "ctl/progress.h"
#include "http/cloud_events.h"
#include "http/json_batch.h"
#include "http/json_check.h"
#include "http/ndjson.h"
#include "sluice/error.h"
#include "sluice/sinks.h"
#include "sluice/tracker.h"
#include "unit/ctl_server.h"

namespace {

using namespace std::chrono_literals;
using sluicectl::Batch;
using sluicectl::Place;
using sluicectl::Progress;
using test::answer_of;
using test::Peer;
using test::Server;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kCloud = "application/cloudevents+json";

const sluice::RunId kRun{{1, 2, 3}};
const sluice::RunId kOtherRun{{1, 2, 4}};

sluice::Delivery event(std::string_view payload, std::string_view type, std::uint64_t sequence = 1) {
  return {.payload = std::as_bytes(std::span(payload)), .content_type = type, .id = {kRun, sequence}, .received = {}};
}

// As the intake takes the request apart: the payloads that it would keep. A body that it would refuse has none.
std::vector<std::string> kept_of(const Batch::Request& request) {
  std::vector<std::string> kept;
  const std::string_view body = sluiced::http::without_mark(request.body);
  if (request.content_type == "application/x-ndjson") {
    sluiced::http::Lines lines(body);
    while (const auto line = lines.next()) {
      if (sluiced::http::is_blank_line(*line)) continue;
      if (sluiced::http::check_json(*line)) return {};
      kept.emplace_back(*line);
    }
  } else if (request.content_type == "application/cloudevents-batch+json") {
    if (sluiced::http::check_cloud_batch(body)) return {};
    sluiced::http::CloudBatch batch(body);
    while (const auto one = batch.next()) kept.emplace_back(*one);
  } else if (request.content_type == kJson && request.query == "array=batch") {
    sluiced::http::JsonArray array(body);
    while (const auto one = array.next()) kept.emplace_back(*one);
    if (array.fault()) return {};
  } else {
    kept.push_back(request.body);
  }
  return kept;
}

std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

// What a server was asked, and what it says: `answer` gets the number of the request, from 1, and its body.
struct Asked {
  std::string head, body;
};
class Recorder {
 public:
  using Say = std::function<std::string(std::size_t number, const Asked&)>;
  explicit Recorder(Say say)
      : say_(std::move(say)), server_([this](Peer& peer) {
          Asked asked;
          for (;;) {
            auto body = peer.read_request(asked.head);
            if (!body) return;
            asked.body = *std::move(body);
            std::size_t number = 0;
            {
              const std::lock_guard lock(mutex_);
              all_.push_back(asked);
              number = all_.size();
            }
            const std::string answer = say_(number, asked);
            if (answer.empty() || !peer.write(answer)) return;  // empty: breaks the connection
          }
        }) {}
  [[nodiscard]] std::vector<Asked> all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }
  [[nodiscard]] sluicectl::Address address() const { return server_.address(); }

 private:
  const Say say_;
  mutable std::mutex mutex_;
  std::vector<Asked> all_;  // guarded by mutex_
  Server server_;           // last: its thread uses all of the above
};

std::size_t lines_of(std::string_view body) {
  return static_cast<std::size_t>(std::count(body.begin(), body.end(), '\n'));
}
std::string accepts(std::size_t events) { return answer_of("{\"accepted\":" + std::to_string(events) + "}"); }
// As a sluiced would.
std::string accepts_all(const Asked& asked) {
  return accepts(asked.head.find("x-ndjson") == std::string::npos ? 1 : lines_of(asked.body));
}

// A state directory whose journal holds these events, unfinished.
void keep(const std::filesystem::path& state, std::span<const sluice::Event> events) {
  sluice::Tracker tracker({.workers = 1, .ack = sluice::Ack::written, .state_dir = state, .log = [](auto, auto) {}},
                          sluice::sinks_for("null:?hang=true"));
  REQUIRE(tracker.track(events) == sluice::Admit::accepted);
  CHECK(tracker.shutdown(1ms).books.kept == events.size());
}
void keep_numbers(const std::filesystem::path& state, std::size_t count) {
  std::vector<std::string> texts;
  for (std::size_t i = 1; i <= count; ++i) texts.push_back(std::to_string(i));
  std::vector<sluice::Event> events;
  for (const std::string& text : texts) events.push_back(sluice::Event(text, kJson));
  keep(state, events);
}

int replay(const std::filesystem::path& state, const sluicectl::Address& to, std::string place = {},
           std::size_t batch = 10'000) {
  sluicectl::Arguments arguments;
  arguments.command = sluicectl::Command::journal_replay_to;
  arguments.to = {to, "/v1/events"};
  arguments.state_dir = state;
  arguments.place = std::move(place);
  arguments.batch = batch;
  arguments.retry_for = 0ms;
  return sluicectl::journal_replay_to(arguments);
}

}  // namespace

TEST_CASE("ctl: an event in a batch is not split, trimmed, joined or refused by its format, whatever it looks like") {
  const std::string deepest = nested(sluice::kMaxJsonNesting);
  const std::vector<std::pair<std::string, std::string_view>> events{{"1", kJson},
                                                                     {R"({"a":[1,2]})", kJson},
                                                                     {"{\n  \"a\": 1\n}", kJson},
                                                                     {" 2", kJson},
                                                                     {"3 ", kJson},
                                                                     {"4\r", kJson},
                                                                     {"5\n", kJson},
                                                                     {"1,2", kJson},
                                                                     {"[1,2]", kJson},
                                                                     {"", kJson},
                                                                     {" ", kJson},
                                                                     {"\xEF\xBB\xBF"
                                                                      "6",
                                                                      kJson},
                                                                     {"\"a\rb\"", kJson},
                                                                     {"{\"a\":\r1}", kJson},
                                                                     {deepest, kJson},
                                                                     {"7", kJson},
                                                                     {"nonsense", kJson},
                                                                     {"8\n9", kJson},
                                                                     {"{}", kCloud},
                                                                     {"{\n}", kCloud},
                                                                     {" {}", kCloud},
                                                                     {"{} ", kCloud},
                                                                     {"{},{}", kCloud},
                                                                     {"a", "text/plain"},
                                                                     {"b", "text/plain"},
                                                                     {"c", ""},
                                                                     {"d", "application/json; a=b"},
                                                                     {"10", kJson},
                                                                     {"11", "text/json"},
                                                                     {"12", kJson}};
  std::vector<std::string> sent, kept;
  Batch batch(100, 1U << 20U);
  std::size_t requests = 0;
  const auto flush = [&] {
    const auto request = batch.request(0, batch.size());
    const auto part = kept_of(request);
    CHECK(part.size() == batch.size());
    kept.insert(kept.end(), part.begin(), part.end());
    if (batch.size() == 1) CHECK(request.query == "array=event");
    batch.clear();
    ++requests;
  };
  for (const auto& [payload, type] : events) {
    CAPTURE(payload);
    sent.push_back(payload);
    if (batch.try_add(event(payload, type))) continue;
    flush();
    REQUIRE(batch.try_add(event(payload, type)));
  }
  flush();
  CHECK(kept == sent);
  CHECK(requests < events.size());
}

TEST_CASE("ctl: a batch ends at its events and its bytes, and a larger event goes alone") {
  Batch batch(3, 20);
  CHECK(batch.try_add(event("1", kJson)));
  CHECK(batch.try_add(event("2", kJson)));
  CHECK(batch.try_add(event("3", kJson)));
  CHECK_FALSE(batch.try_add(event("4", kJson)));
  CHECK(batch.request(0, 3).body == "1\n2\n3\n");
  CHECK(batch.request(1, 2).body == "2\n3\n");
  batch.clear();
  const std::string large(100, '7');
  CHECK(batch.try_add(event(large, kJson)));
  CHECK_FALSE(batch.try_add(event("1", kJson)));
  batch.clear();
  CHECK(batch.try_add(event("1", kJson)));
  CHECK_FALSE(batch.try_add(event(large, kJson)));
}

TEST_CASE("ctl: a replay of JSON takes a request for ten thousand events, not one for each") {
  const test::TempDir dir;
  keep_numbers(dir.path(), 25'000);
  Recorder server([](std::size_t, const Asked& asked) { return accepts_all(asked); });
  CHECK(replay(dir.path(), server.address()) == sluicectl::kOk);
  const auto all = server.all();
  CHECK(all.size() == 3);
  std::string texts, wanted;
  for (const Asked& asked : all) texts += asked.body;
  for (int i = 1; i <= 25'000; ++i) wanted += std::to_string(i) + "\n";
  CHECK(texts == wanted);  // in their order
}

// Each write of a socket with TCP_NODELAY is a segment of its own here, where one takes 64 KiB.
TEST_CASE("ctl: head and body of a request leave in one write") {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&at), size) == 0);
  REQUIRE(::listen(listener, 1) == 0);
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  std::uint32_t segments = 0;
  {
    const std::jthread serving([&] {
      const int one = ::accept(listener, nullptr, nullptr);
      Peer peer(one);
      std::string head;
      for (int i = 0; i < 3; ++i) {
        const auto body = peer.read_request(head);
        if (!body || !peer.write(accepts(lines_of(*body)))) return;
      }
      tcp_info info{};
      socklen_t length = sizeof info;
      if (::getsockopt(one, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) segments = info.tcpi_data_segs_in;
    });
    sluicectl::Poster poster(*sluicectl::parse_url("127.0.0.1:" + std::to_string(ntohs(at.sin_port))), 0ms);
    std::string body;
    while (body.size() < 10'000) body += "\"some text\"\n";
    for (int i = 0; i < 3; ++i) {
      CHECK(poster.post("application/x-ndjson", body, lines_of(body)) == sluicectl::Outcome::accepted);
    }
  }
  ::close(listener);
  CHECK(segments == 3);
}

TEST_CASE("ctl: a replay that was cut off goes on behind the last answer, and sends nothing twice that was accepted") {
  const test::TempDir dir;
  keep_numbers(dir.path(), 1000);
  // Breaks under the third request, then is gone: the batch that got no answer is unknown, not accepted.
  std::multiset<std::string> accepted;
  const auto note = [&](const Asked& asked) {
    for (std::size_t at = 0; at < asked.body.size();) {
      const std::size_t end = asked.body.find('\n', at);
      accepted.insert(asked.body.substr(at, end - at));
      at = end + 1;
    }
  };
  {
    Recorder server([&](std::size_t number, const Asked& asked) {
      if (number == 3) return std::string();
      if (number > 3) return answer_of("{}", "503 Service Unavailable");
      note(asked);
      return accepts_all(asked);
    });
    CHECK(replay(dir.path(), server.address(), dir / "place", 100) == sluicectl::kNo);
    CHECK(accepted.size() == 200);
  }
  // A socket of another name is another server to the place, so it is told to be the same by the same name.
  const std::string text = [&] {
    std::ifstream in(dir / "place");
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  CHECK(lines_of(text) == 3);  // a head, and a line for each request that was accepted
  Recorder server([&](std::size_t, const Asked& asked) {
    note(asked);
    return accepts_all(asked);
  });
  std::ofstream(dir / "place") << "sluicectl replay 1 to " << server.address().shown << "/v1/events"
                               << text.substr(text.find('\n'));
  CHECK(replay(dir.path(), server.address(), dir / "place", 100) == sluicectl::kOk);
  CHECK(server.all().size() == 8);
  CHECK(accepted.size() == 1000);
  CHECK(std::set<std::string>(accepted.begin(), accepted.end()).size() == 1000);
  // Once more: nothing is left.
  CHECK(replay(dir.path(), server.address(), dir / "place", 100) == sluicectl::kOk);
  CHECK(server.all().size() == 8);
}

TEST_CASE("ctl: a batch that was accepted in part is not remembered as accepted") {
  const test::TempDir dir;
  keep_numbers(dir.path(), 10);
  Recorder server([](std::size_t, const Asked&) { return accepts(9); });
  CHECK(replay(dir.path(), server.address(), dir / "place") == sluicectl::kNo);
  std::ifstream in(dir / "place");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  CHECK(lines_of(text) == 1);  // the head
}

TEST_CASE("ctl: an event that is refused takes no other of its batch with it, whatever the server tells of it") {
  for (const bool names_it : {true, false}) {
    CAPTURE(names_it);
    const test::TempDir dir;
    keep_numbers(dir.path(), 100);
    std::size_t taken = 0;
    Recorder server([&](std::size_t, const Asked& asked) {
      const std::string body = "\n" + asked.body + (asked.body.ends_with('\n') ? "" : "\n");
      const std::size_t bad = body.find("\n37\n");
      if (bad != std::string::npos) {
        const std::size_t line = lines_of(std::string_view(body).substr(0, bad)) + 1;
        return answer_of(names_it ? "{\"line\":" + std::to_string(line) + "}" : "{}", "400 Bad Request");
      }
      taken += lines_of(body) - 1;
      return accepts_all(asked);
    });
    CHECK(replay(dir.path(), server.address()) == sluicectl::kNo);
    CHECK(taken == 99);
    CHECK(server.all().size() <= 16);
  }
}

TEST_CASE("ctl: a server that takes few events a request is not offered more each time") {
  const test::TempDir dir;
  keep_numbers(dir.path(), 1000);
  std::size_t refused = 0;
  Recorder server([&](std::size_t, const Asked& asked) {
    if (lines_of(asked.body) <= 50) return accepts_all(asked);
    ++refused;
    return answer_of("{}", "413 Content Too Large");
  });
  CHECK(replay(dir.path(), server.address(), {}, 400) == sluicectl::kOk);
  CHECK(refused <= 8);  // of the first batch: 400, twice 200, four times 100
}

TEST_CASE("ctl: a place holds what was added, also behind a torn end, and of no other server") {
  const test::TempDir dir;
  const std::string file = dir / "place";
  const auto ids = [](const sluice::RunId& run, std::initializer_list<std::uint64_t> sequences) {
    std::vector<sluice::EventId> all;
    for (const std::uint64_t one : sequences) all.push_back({run, one});
    return all;
  };
  {
    Place place(file, "http://a");
    CHECK_FALSE(place.has({kRun, 1}));
    CHECK_FALSE(place.add(ids(kRun, {5, 6, 7, 9})));
    CHECK_FALSE(place.add(ids(kRun, {10, 11})));
    CHECK_FALSE(place.add(ids(kOtherRun, {2})));
    CHECK_FALSE(place.add(ids(kRun, {1, 2})));                     // older ones may come later
    CHECK_THROWS_AS(Place(file, "http://a"), sluice::StartError);  // held
  }
  std::ofstream(file, std::ios::app) << to_string(sluice::EventId{kRun, 12}).substr(0, 36) << " 12-13";  // torn
  const auto check = [&] {
    const Place place(file, "http://a");
    for (const std::uint64_t one : {1, 2, 5, 6, 7, 9, 10, 11}) CHECK(place.has({kRun, one}));
    for (const std::uint64_t one : {3, 4, 8, 12, 13}) CHECK_FALSE(place.has({kRun, one}));
    CHECK(place.has({kOtherRun, 2}));
    CHECK_FALSE(place.has({kOtherRun, 5}));
  };
  check();
  check();  // the torn end is gone, and nothing else
  CHECK_THROWS_AS(Place(file, "http://b"), sluice::StartError);
  check();
  try {
    const Place none(dir / "place/none", "http://a");  // the disk lets nothing be made there
    CHECK(false);
  } catch (const sluice::StartError& error) {
    CHECK(std::string_view(error.what()).find("another place: --place FILE|none") != std::string_view::npos);
  }
  const std::string other = dir / "notes";
  std::ofstream(other) << "my notes\n";
  CHECK_THROWS_AS(Place(other, "http://a"), sluice::StartError);
  std::ifstream in(other);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "my notes\n");
  CHECK(sluicectl::place_for("/s", "a:1/v1/events") != sluicectl::place_for("/s", "a:2/v1/events"));
}

TEST_CASE("ctl: progress is a bar on a terminal, and a plain line every ten seconds elsewhere") {
  const auto began = Progress::Clock::time_point{} + 1h;
  Progress bar(true, 200, began);
  CHECK(bar.show(50, 40, false, began + 1s) == "\r[#######                       ] 25% 40 events, 40 a second\033[K");
  CHECK(bar.show(60, 50, false, began + 1050ms).empty());
  CHECK(bar.show(200, 100, true, began + 2s) ==
        "\r[##############################] 100% 100 events, 50 a second\033[K\n");
  Progress plain(false, 200, began);
  CHECK(plain.show(50, 40, false, began + 9s).empty());
  CHECK(plain.show(50, 40, false, began + 10s) == "sluicectl: 25% 40 events, 4 a second\n");
  CHECK(plain.show(60, 50, false, began + 19s).empty());
  CHECK(plain.show(200, 100, true, began + 60s).empty());  // the account follows
  CHECK(plain.make_way().empty());
}
