// The server before a committer that takes its time: receipts come late, from another thread, many at once or never to
// a client that is still there. What must hold is the order of the answers, the bounds, and that nobody is forgotten.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "http/server.h"
#include "http_support.h"
#include "support/temp_dir.h"

namespace {

using namespace std::chrono_literals;
using namespace http_support;
using sluice::Admit;
using sluiced::http::Config;
using sluiced::http::Page;
using sluiced::http::Server;
using Strings = std::vector<std::string>;

// Takes what it is given and tells nobody before the test says so. Ids are drawn in the order of the requests.
class Committer {
 public:
  sluice::Submission submit(std::span<const sluice::Event> events, const sluice::Receipt& receipt) {
    const std::lock_guard lock(mutex_);
    if (door_ != Admit::accepted) return sluice::Submission(door_);
    sluice::Outcome outcome{Admit::accepted, {{}, next_}, {{}, next_ + events.size() - 1}};
    next_ += events.size();
    for (const sluice::Event& event : events)
      bodies_.emplace_back(reinterpret_cast<const char*>(event.payload.data()), event.payload.size());
    if (at_once_) {
      receipt(outcome);
    } else {
      waiting_.push_back({receipt, outcome});
    }
    return sluice::Submission::under_way();
  }

  // What everybody is answered from here.
  void door(Admit answer) {
    const std::lock_guard lock(mutex_);
    door_ = answer;
  }
  // As under Ack::queued, from here.
  void at_once(bool yes) {
    const std::lock_guard lock(mutex_);
    at_once_ = yes;
  }

  // Tells one, by its place among those that wait, on this thread; the oldest so many; all.
  void tell(std::size_t at = 0, Admit how = Admit::accepted) {
    Waiting told = take(at);
    told.outcome.answer = how;
    told.receipt(told.outcome);
  }
  void tell_first(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) tell();
  }
  std::size_t tell_all() {
    std::deque<Waiting> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(waiting_);
    }
    for (const Waiting& told : all) told.receipt(told.outcome);
    return all.size();
  }

  std::size_t waiting() {
    const std::lock_guard lock(mutex_);
    return waiting_.size();
  }
  Strings bodies() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }

 private:
  struct Waiting {
    sluice::Receipt receipt;
    sluice::Outcome outcome;
  };

  Waiting take(std::size_t at) {
    const std::lock_guard lock(mutex_);
    Waiting one = waiting_.at(at);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
    return one;
  }

  std::mutex mutex_;
  Admit door_ = Admit::accepted;  // this and all below: guarded by mutex_
  bool at_once_ = false;
  std::uint64_t next_ = 1;
  std::deque<Waiting> waiting_;
  Strings bodies_;
};

struct House {
  explicit House(const std::function<void(Config&)>& change = {}) {
    Config config;
    config.listen = {{"127.0.0.1", 0, ""}};
    config.pages["/healthz"] = [] { return Page{200, "text/plain", "ok\n"}; };
    config.pages["/large"] = [] { return Page{200, "text/plain", std::string(12'000, 'x')}; };
    config.submit = [this](auto events, const auto& receipt) { return committer.submit(events, receipt); };
    if (change) change(config);
    server = std::make_unique<Server>(std::move(config));
  }
  ~House() {
    // As a tracker that is shut down: it takes no more, and every receipt comes.
    committer.door(Admit::closed);
    (void)committer.tell_all();
  }

  [[nodiscard]] const std::string& address() const { return server->addresses().front(); }
  [[nodiscard]] bool waits_for(std::size_t requests) {
    return eventually([&] { return committer.waiting() == requests; });
  }
  [[nodiscard]] bool owes(std::size_t answers) {
    return eventually([&] { return server->counters().answers_owed == answers; });
  }
  [[nodiscard]] bool answered(int status, std::uint64_t count) {
    return eventually([&] { return server->counters().answered[status] == count; });
  }

  Committer committer;
  std::unique_ptr<Server> server;  // dies first
};

// The answer to the request whose first event has this number.
bool is_for(const Answer& answer, std::uint64_t number) {
  return answer.status == 202 && answer.body.find("-" + std::to_string(number) + "\",\"last") != std::string::npos;
}

// A close that throws away what is on its way, in both directions.
void reset(std::unique_ptr<Client>& client) {
  const linger at_once{1, 0};
  ::setsockopt(client->fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  client.reset();
}

}  // namespace

// ---- order

TEST_CASE("late: answers leave in the order of the requests, in whatever order the committer tells") {
  House house;
  Client client(house.address());
  client.send(post("1") + post("2") + get("/healthz") + post("{", "application/json") + post("3") + get("/nothing"));
  REQUIRE(house.waits_for(3));
  CHECK(house.owes(6));
  house.committer.tell(2);
  house.committer.tell(1);
  CHECK(client.silent());
  house.committer.tell(0);
  CHECK(is_for(client.receive(), 1));
  CHECK(is_for(client.receive(), 2));
  CHECK(client.receive().body == "ok\n");
  CHECK(client.receive().status == 400);
  CHECK(is_for(client.receive(), 3));
  CHECK(client.receive().status == 404);
  CHECK(house.owes(0));
  CHECK(house.committer.bodies() == Strings{"1", "2", "3"});
}

TEST_CASE("late: an answer leaves once it is there, and those behind it go on waiting") {
  House house;
  Client client(house.address());
  client.send(post("1") + get("/healthz") + post("2\n3\n", "application/x-ndjson") + get("/healthz"));
  REQUIRE(house.waits_for(2));
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  CHECK(client.receive().body == "ok\n");
  CHECK(house.owes(2));
  CHECK(client.silent());
  house.committer.tell();
  const Answer answer = client.receive();
  CHECK(is_for(answer, 2));
  CHECK(answer.body.starts_with("{\"accepted\":2,"));
  CHECK(client.receive().body == "ok\n");
}

TEST_CASE("late: a receipt that comes at once waits behind one that does not") {
  House house;
  Client client(house.address());
  client.send(post("1"));
  REQUIRE(house.waits_for(1));
  house.committer.at_once(true);
  client.send(post("2") + post("3"));
  CHECK(house.owes(3));
  CHECK(client.silent());
  house.committer.tell();
  for (const std::uint64_t number : {1U, 2U, 3U}) CHECK(is_for(client.receive(), number));
  CHECK(is_for(client.ask(post("4")), 4));
  CHECK(house.server->counters().wake_ups == 1);
}

TEST_CASE("late: other clients are served while one waits") {
  House house;
  Client waiting(house.address());
  waiting.send(post("1"));
  REQUIRE(house.waits_for(1));
  Client other(house.address());
  CHECK(other.ask(get("/healthz")).status == 200);
  CHECK(other.ask(post("{", "application/json")).status == 400);
  house.committer.tell();
  CHECK(is_for(waiting.receive(), 1));
}

// ---- outcomes

TEST_CASE("late: a disk that fails under a request is 500, one that has failed is 503 with Retry-After") {
  House house;
  Client client(house.address());
  client.send(post("1") + post("2"));
  REQUIRE(house.waits_for(2));
  house.committer.tell(0, Admit::failed);
  house.committer.tell();
  const Answer unknown = client.receive();
  CHECK(unknown.status == 500);
  CHECK(unknown.body.find("whole or not at all") != std::string::npos);
  CHECK(is_for(client.receive(), 2));

  house.committer.door(Admit::failed);
  const Answer refused = client.ask(post("3"));
  CHECK(refused.status == 503);
  CHECK(refused.has("Retry-After: 1"));
  CHECK(refused.has("Connection: close"));
  CHECK(client.ends());
}

TEST_CASE("late: a refusal at the door waits behind what was taken") {
  House house;
  Client client(house.address());
  client.send(post("1"));
  REQUIRE(house.waits_for(1));
  house.committer.door(Admit::full);
  client.send(post("2"));
  CHECK(house.answered(429, 1));
  house.committer.door(Admit::too_large);
  client.send(post("3"));
  CHECK(house.answered(413, 1));
  house.committer.door(Admit::closed);
  client.send(post("4") + post("never looked at"));
  CHECK(house.answered(503, 1));
  CHECK(client.silent());
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  CHECK(client.receive().status == 429);
  CHECK(client.receive().status == 413);
  CHECK(client.receive().status == 503);
  CHECK(client.ends());
}

// ---- clients that leave

TEST_CASE("late: a client that is gone before its receipt harms nobody") {
  House house;
  auto resets = std::make_unique<Client>(house.address());
  resets->send(post("1") + get("/large") + post("2"));
  REQUIRE(house.waits_for(2));
  reset(resets);
  CHECK(eventually([&] { return house.server->counters().connections == 0; }));
  CHECK(house.owes(0));

  auto closes = std::make_unique<Client>(house.address());
  closes->send(post("3"));
  REQUIRE(house.waits_for(3));
  closes.reset();
  Client stays(house.address());
  stays.send(post("4"));
  REQUIRE(house.waits_for(4));

  CHECK(house.committer.tell_all() == 4);
  CHECK(is_for(stays.receive(), 4));
  CHECK(eventually([&] { return house.server->counters().connections == 1; }));
  stays.send(post("5"));
  REQUIRE(house.waits_for(1));
  house.committer.tell();
  CHECK(is_for(stays.receive(), 5));
}

TEST_CASE("late: who sends no more still gets what is owed") {
  House house;
  Client client(house.address());
  client.send(post("1") + post("2"));
  ::shutdown(client.fd(), SHUT_WR);
  REQUIRE(house.waits_for(2));
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  house.committer.tell();
  CHECK(is_for(client.receive(), 2));
  CHECK(client.ends());
}

// ---- closing

TEST_CASE("late: the connection closes behind the request that asks for it, once that is answered") {
  House house;
  const std::string old = "POST /v1/events HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
  std::uint64_t number = 1;
  for (const std::string& last : {post("2", "text/plain", "Connection: close\r\n"), old}) {
    Client client(house.address());
    client.send(post("1") + last + post("never looked at"));
    REQUIRE(house.waits_for(2));
    house.committer.tell();
    const Answer first = client.receive();
    CHECK(is_for(first, number));
    CHECK_FALSE(first.has("Connection: close"));
    CHECK(client.silent());
    house.committer.tell();
    const Answer second = client.receive();
    CHECK(is_for(second, number + 1));
    CHECK(second.has("Connection: close"));
    CHECK(client.ends());
    number += 2;
  }
  CHECK(house.committer.bodies() == Strings{"1", "2", "1", "x"});
}

TEST_CASE("late: what is refused with a close is said behind what is owed, then the connection ends") {
  House house;
  const auto closes = [&](const std::string& request, int status) {
    CAPTURE(request.substr(0, 100));
    Client client(house.address());
    client.send(post("1") + request);
    REQUIRE(house.waits_for(1));
    CHECK(house.answered(status, 1));
    CHECK(client.silent());
    house.committer.tell();
    CHECK(client.receive().status == 202);
    const Answer answer = client.receive();
    CHECK(answer.status == status);
    CHECK(answer.has("Connection: close"));
    CHECK(client.ends());
  };
  closes("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505);
  closes("POST /v1/events HTTP/1.1\r\nHost: a\r\n\r\n", 411);
  closes(post(std::string((256 << 10) + 1, 'x')), 413);
  closes("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x'), 431);
}

TEST_CASE("late: who expects a 100 gets it in its turn") {
  House house;
  Client client(house.address());
  client.send(post("1") + "POST /v1/events HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  CHECK(house.owes(2));
  CHECK(client.silent());
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  CHECK(client.receive().status == 100);
  client.send("abc");
  REQUIRE(house.waits_for(1));
  house.committer.tell();
  CHECK(is_for(client.receive(), 2));
  CHECK(house.committer.bodies() == Strings{"1", "abc"});
}

// ---- time

TEST_CASE("late: no timeout answers what is with the committer; what is half read behind it is judged afterwards") {
  House house([](Config& config) { config.request_timeout = config.idle_timeout = 60ms; });
  Client waits(house.address());
  Client half(house.address());
  waits.send(post("1"));
  REQUIRE(house.waits_for(1));
  half.send(post("2") + "POST /v1/ev");
  REQUIRE(house.waits_for(2));
  CHECK(house.owes(3));
  for (int i = 0; i < 3; ++i) CHECK(Client(house.address()).ends());  // closed as idle: so long the others have waited
  CHECK(waits.silent());
  CHECK(half.silent());
  house.committer.tell_first(2);
  CHECK(is_for(waits.receive(), 1));
  CHECK(is_for(half.receive(), 2));
  CHECK(half.receive().status == 408);
  CHECK(half.ends());
  CHECK(waits.ends());  // idle, from its answer on
}

TEST_CASE("late: a request that is half read when the answer before it comes is read on and taken") {
  House house;
  Client client(house.address());
  const std::string request = post("second, in two parts");
  client.send(post("1") + request.substr(0, request.size() - 5));
  REQUIRE(house.waits_for(1));
  CHECK(house.owes(2));
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  client.send(request.substr(request.size() - 5));
  REQUIRE(house.waits_for(1));
  house.committer.tell();
  CHECK(is_for(client.receive(), 2));
}

// ---- bounds

TEST_CASE("late: one connection has at most 128 requests with the committer, and goes on when they are answered") {
  House house;
  Client client(house.address());
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += post(std::to_string(i));
  client.send(requests);
  REQUIRE(house.waits_for(128));
  Client other(house.address());
  for (int i = 0; i < 10; ++i) REQUIRE(other.ask(get("/healthz")).status == 200);  // the loop has had its turns
  CHECK(house.committer.waiting() == 128);
  house.committer.tell_first(28);
  REQUIRE(house.waits_for(128));
  for (std::uint64_t number = 1; number <= 1000; ++number) {
    if (number > 28) {
      REQUIRE(eventually([&] { return house.committer.waiting() > 0; }));
      house.committer.tell();
    }
    REQUIRE(is_for(client.receive(), number));
  }
  CHECK(house.owes(0));
}

TEST_CASE("late: pages behind a request with the committer are held up to 16 KiB, the rest is not read") {
  House house;
  Client client(house.address());
  std::string requests = post("1");
  for (int i = 0; i < 100; ++i) requests += get("/large");
  client.send(requests);
  REQUIRE(house.owes(3));
  Client other(house.address());
  for (int i = 0; i < 10; ++i) REQUIRE(other.ask(get("/healthz")).status == 200);
  CHECK(house.server->counters().answers_owed == 3);
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  for (int i = 0; i < 100; ++i) REQUIRE(client.receive().body.size() == 12'000);
}

TEST_CASE("late: requests with the committer are charged, who finds no room gets 429, and room comes back") {
  House house([](Config& config) { config.receive_bytes = 2048; });
  std::deque<Client> clients;
  for (int i = 0; i < 40; ++i) clients.emplace_back(house.address()).send(post("x"));
  const auto refused = [&] { return house.server->counters().answered[429]; };
  CHECK(eventually([&] { return house.committer.waiting() + refused() == 40; }));
  const std::size_t taken = house.committer.waiting();
  CHECK(taken >= 4);
  CHECK(refused() >= 20);
  CHECK(house.committer.tell_all() == taken);
  std::size_t accepted = 0;
  for (Client& client : clients) {
    const Answer answer = client.receive();
    accepted += answer.status == 202 ? 1 : 0;
    if (answer.status != 202) CHECK(answer.has("Retry-After: 1"));
  }
  CHECK(accepted == taken);
  clients.front().send(post("again"));
  REQUIRE(house.waits_for(1));
  house.committer.tell();
  CHECK(clients.front().receive().status == 202);
}

TEST_CASE("late: an answer that finds no room to wait in ends the connection, behind those that are owed") {
  House house([](Config& config) { config.receive_bytes = 1024; });
  Client client(house.address());
  client.send(post("1") + get("/large") + post("never looked at"));
  REQUIRE(house.waits_for(1));
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  CHECK(client.ends());
  CHECK(house.committer.bodies() == Strings{"1"});
}

TEST_CASE("late: one commit wakes a thread once, however many it answers") {
  std::binary_semaphore entered{0};
  std::binary_semaphore leave{0};
  House house([&](Config& config) {
    config.pages["/block"] = [&] {
      entered.release();
      leave.acquire();
      return Page{200, "text/plain", "blocked"};
    };
  });
  std::deque<Client> clients;
  for (int i = 0; i < 50; ++i) clients.emplace_back(house.address()).send(post("x") + post("y"));
  REQUIRE(house.waits_for(100));
  Client blocks(house.address());
  blocks.send(get("/block"));
  entered.acquire();  // the thread is busy: all that is told now it finds at once
  std::jthread committer([&] { (void)house.committer.tell_all(); });
  committer.join();
  leave.release();
  CHECK(blocks.receive().status == 200);
  for (Client& client : clients) {
    REQUIRE(client.receive().status == 202);
    REQUIRE(client.receive().status == 202);
  }
  CHECK(house.server->counters().wake_ups == 1);
}

// ---- the drain

TEST_CASE("late: a drain waits for what is with the committer, and its answer is the last of its connection") {
  House house;
  Client client(house.address());
  client.send(post("1") + post("2"));
  REQUIRE(house.waits_for(2));
  house.server->drain(Clock::now());
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 20ms));
  house.committer.tell();
  const Answer first = client.receive();
  CHECK(is_for(first, 1));
  CHECK_FALSE(first.has("Connection: close"));
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 20ms));
  house.committer.tell();
  const Answer second = client.receive();
  CHECK(is_for(second, 2));
  CHECK(second.has("Connection: close"));
  CHECK(client.ends());
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
}

TEST_CASE("late: a request that comes while the server drains is refused, behind what is owed") {
  House house;
  Client client(house.address());
  client.send(post("1"));
  REQUIRE(house.waits_for(1));
  house.server->drain(Clock::now() + kPatience);
  CHECK(eventually([&] { return !Client(house.address()).connected(); }));  // it drains by now
  client.send(post("2"));
  CHECK(house.answered(503, 1));
  CHECK(client.silent());
  house.committer.tell();
  CHECK(is_for(client.receive(), 1));
  CHECK(client.receive().status == 503);
  CHECK(client.ends());
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  CHECK(house.committer.bodies() == Strings{"1"});
}

TEST_CASE("late: of more requests than may be with the committer, a drain refuses the first that was not taken") {
  House house;
  Client client(house.address());
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += post(std::to_string(i));
  client.send(requests);
  REQUIRE(house.waits_for(128));
  house.server->drain(Clock::now() + kPatience);
  CHECK(eventually([&] { return !Client(house.address()).connected(); }));
  CHECK(house.committer.tell_all() == 128);
  for (std::uint64_t number = 1; number <= 128; ++number) REQUIRE(is_for(client.receive(), number));
  CHECK(client.receive().status == 503);
  CHECK(client.ends());
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  CHECK(house.committer.bodies().size() == 128);
}

TEST_CASE("late: what is half read behind a request with the committer may finish, or is refused in its turn") {
  House house;
  Client finishes(house.address());
  Client stays(house.address());
  const std::string request = post("finished");
  finishes.send(post("1") + request.substr(0, 40));
  stays.send(post("1") + request.substr(0, 40));
  REQUIRE(house.waits_for(2));
  CHECK(house.owes(4));
  house.server->drain(Clock::now() + 500ms);
  finishes.send(request.substr(40));
  REQUIRE(house.waits_for(3));
  CHECK(house.answered(503, 1));  // reading is over
  (void)house.committer.tell_all();
  CHECK(finishes.receive().status == 202);
  const Answer last = finishes.receive();
  CHECK(last.status == 202);
  CHECK(last.has("Connection: close"));
  CHECK(finishes.ends());
  const Answer first = stays.receive();
  CHECK(first.status == 202);
  CHECK_FALSE(first.has("Connection: close"));
  CHECK(stays.receive().status == 503);
  CHECK(stays.ends());
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
}

TEST_CASE("late: who is given up gets no answer, and the receipts that come then are nobody's") {
  House house;
  Client client(house.address());
  client.send(post("1") + get("/healthz") + post("2"));
  REQUIRE(house.waits_for(2));
  house.server->drain(Clock::now());
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 20ms));
  house.server->give_up();
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  CHECK(client.ends());
  CHECK(house.server->counters().answered[202] == 0);
  CHECK(house.committer.tell_all() == 2);
}

TEST_CASE("late: a server may end right behind the last receipt") {
  for (int round = 0; round < 50; ++round) {
    House house;
    Client client(house.address());
    client.send(post("1") + post("2"));
    REQUIRE(house.waits_for(2));
    CHECK(house.committer.tell_all() == 2);
    house.server.reset();
  }
}

// ---- all at once

TEST_CASE("late: a committer that never rests, clients that pipeline or run away: every 202 in its order") {
  auto house = std::make_unique<House>([](Config& config) { config.threads = 2; });
  std::atomic<bool> over{false};
  std::jthread committer([&] {
    while (!over) {
      if (house->committer.tell_all() == 0) std::this_thread::yield();
    }
  });
  constexpr int rounds = 60;
  std::atomic<int> wrong{0};
  std::atomic<std::size_t> sent{0};
  std::vector<std::jthread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      for (int round = 0; round < rounds; ++round) {
        auto client = std::make_unique<Client>(house->address());
        std::string requests;
        for (int i = 0; i < 40; ++i) requests += post(std::to_string(i)) + (i % 8 == 0 ? get("/healthz") : "");
        client->send(requests);
        if (c == 0) {
          (void)client->receive();
          reset(client);
          continue;
        }
        sent += 40;
        std::uint64_t last = 0;
        for (int i = 0; i < 40; ++i) {
          const Answer answer = client->receive();
          const std::size_t dash = answer.body.rfind('-');
          const std::uint64_t number =
              answer.status == 202 && dash != std::string::npos ? std::stoull(answer.body.substr(dash + 1)) : 0;
          if (number <= last) ++wrong;
          last = number;
          if (i % 8 == 0 && client->receive().body != "ok\n") ++wrong;
        }
      }
    });
  }
  clients.clear();
  CHECK(wrong == 0);
  CHECK(house->server->counters().answered[202] >= sent);
  house->server->drain(Clock::now() + kPatience);
  CHECK(house->server->wait_drained(Clock::now() + kPatience));
  CHECK(house->server->counters().answers_owed == 0);
  over = true;
  committer.join();
  house.reset();
}

// ---- actions

TEST_CASE("http: an action is posted to, and answers with what it did") {
  const test::TempDir dir;
  Config config;
  config.listen = {{"", 0, (dir.path() / "s").string()}, {"127.0.0.1", 0, ""}};
  config.pages["/status"] = [] { return Page{200, "text/plain", "fine"}; };
  config.actions["/dead-letter/requeue"] = [](std::string_view target) {
    return Page{200, "application/json", "{\"asked\":\"" + std::string(target) + "\"}"};
  };
  config.actions["/broken"] = [](std::string_view) -> Page { throw std::runtime_error("broken"); };
  Server server(config);
  Client client(server.addresses().front());
  const auto send = [](const std::string& target, std::size_t body, const std::string& method = "POST") {
    return method + " " + target +
           " HTTP/1.1\r\nHost: a\r\nSluice-Admin: 1\r\nContent-Length: " + std::to_string(body) + "\r\n\r\n" +
           std::string(body, 'b');
  };
  const Answer done = client.ask(send("/dead-letter/requeue?most=5", 0));
  CHECK(done.status == 200);
  CHECK(done.body == "{\"asked\":\"/dead-letter/requeue?most=5\"}");
  CHECK(client.ask("POST /dead-letter/requeue HTTP/1.1\r\nHost: a\r\nSluice-Admin: 1\r\n\r\n").status == 200);
  CHECK(client.ask(send("/dead-letter/requeue", 64 << 10)).status == 200);  // read over
  for (const std::string method : {"GET", "HEAD", "DELETE"}) {
    client.send(send("/dead-letter/requeue", 0, method));
    const Answer answer = client.receive(method != "HEAD");
    CHECK(answer.status == 405);
    CHECK(answer.has("Allow: POST, OPTIONS"));
  }
  CHECK(client.ask(send("/broken", 3)).status == 500);
  CHECK(client.ask(send("/status", 0)).status == 405);
  CHECK(client.ask(send("/dead-letter", 0)).status == 404);
  const Answer large = client.ask(send("/dead-letter/requeue", (64 << 10) + 1));
  CHECK(large.status == 200);
  CHECK(large.has("Connection: close"));
  CHECK(client.ends());
}

TEST_CASE("http: an action wants a unix socket, and a field that no web page sends unasked") {
  const test::TempDir dir;
  int done = 0;
  Config config;
  config.listen = {{"", 0, (dir.path() / "s").string()}, {"127.0.0.1", 0, ""}};
  config.actions["/do"] = [&done](std::string_view) {
    ++done;
    return Page{200, "text/plain", ""};
  };
  Server server(config);
  const std::string plain = "POST /do HTTP/1.1\r\nHost: a\r\n";
  const std::string field = "Sluice-Admin: 1\r\n";
  Client by_tcp(server.addresses().at(1));
  CHECK(by_tcp.ask(plain + field + "\r\n").status == 403);
  CHECK(by_tcp.ask(plain + "\r\n").status == 403);
  Client by_socket(server.addresses().at(0));
  for (const char* other : {"", "Sluice-Admin: 0\r\n", "Sluice-Admin:\r\n", "Sluice-Admin: yes\r\n"}) {
    CAPTURE(other);
    CHECK(by_socket.ask(plain + other + "\r\n").status == 403);
  }
  CHECK(done == 0);
  CHECK(by_socket.ask(plain + field + "\r\n").status == 200);
  CHECK(done == 1);
}
