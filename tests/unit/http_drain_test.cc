// What a drain does with the server's clients: idle ones, half-read requests, who waits in the listen queue, who does
// not read. It waits for no more than it must, and no answer is lost by it.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "http_house.h"
#include "http_support.h"

using namespace http_support;

TEST_CASE("drain: an idle keep-alive connection does not delay it") {
  // A client who says nothing to our end confirms it after 40 ms, which nobody waits for. The machine may be slow, five
  // times in a row it is not.
  bool at_once = false;
  for (int round = 0; round < 5 && !at_once; ++round) {
    House house;
    Client client(house.address());
    CHECK(client.ask(post("x")).status == 202);
    const auto begin = Clock::now();
    house.server->drain(begin + kPatience);
    at_once = house.server->wait_drained(begin + 30ms);
    CHECK(house.server->wait_drained(begin + kPatience));
    house.server->close_quiet();
    at_once = at_once && house.server->wait_drained(begin + 30ms);
    CHECK(house.server->wait_drained(begin + kPatience));
    CHECK(client.ends());
    CHECK_FALSE(Client(house.address()).connected());
    house.server->drain(begin);  // again: nothing
    CHECK(house.server->wait_drained(Clock::now()));
  }
  CHECK(at_once);
}

TEST_CASE("drain: a quiet client that speaks is told 503 and to go, as long as the drain goes on") {
  House house([](Config& config, sluice::Options&) { config.threads = 2; });
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<Client>(house.address()));
    CHECK(clients.back()->ask(post("x")).status == 202);
  }
  house.server->drain(Clock::now() + kPatience * 10);
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  for (std::size_t i = 0; i < 30; ++i) {
    const Answer answer = clients[i]->ask(i % 2 == 0 ? post("late") : get("/healthz"));
    CHECK(answer.status == 503);
    CHECK(answer.has("Connection: close"));
    CHECK(clients[i]->ends());
  }
  for (std::size_t i = 30; i < 40; ++i) CHECK(clients[i]->silent());
  // Clients that speak at the last moment are answered, too.
  for (std::size_t i = 30; i < 35; ++i) clients[i]->send(post("later"));
  house.server->close_quiet();
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  for (std::size_t i = 30; i < 40; ++i) {
    if (i < 35) CHECK(clients[i]->receive().status == 503);
    CHECK(clients[i]->ends());
  }
  house.server.reset();
  CHECK(house.delivered().size() == 40);
}

TEST_CASE("drain: quiet clients go when reading is over, and one of them does not keep the server from being drained") {
  House house;
  Client quiet(house.address());
  CHECK(quiet.ask(post("x")).status == 202);
  Client never(house.address());
  CHECK(eventually([&] { return house.server->counters().connections == 2; }));
  const auto begin = Clock::now();
  house.server->drain(begin + 100ms);
  CHECK(house.server->wait_drained(begin + kPatience));
  CHECK(quiet.ends());
  CHECK(never.ends());
  CHECK(Clock::now() - begin >= 90ms);
}

TEST_CASE("drain: who has only just connected is given a moment to speak, who has spoken is not") {
  House house;
  const auto begin = Clock::now();
  Client fresh(house.address());
  house.server->drain(begin + kPatience * 10);
  CHECK(house.server->wait_drained(begin + kPatience));
  CHECK(Clock::now() - begin >= 5ms);  // less than the moment: its clock is a coarse one
  CHECK(fresh.ask(post("first word")).status == 503);
}

TEST_CASE("drain: what is not drained is not called so") {
  House house;
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 10ms));
}

TEST_CASE("drain: a half-read request may finish and is taken, what comes behind it is not") {
  House house;
  Client body(house.address());
  Client head(house.address());
  const std::string request = post("finished");
  body.send(request.substr(0, request.size() - 3));
  head.send(request.substr(0, 30));
  CHECK(eventually([&] { return house.server->counters().answers_owed == 2; }));
  house.server->drain(Clock::now() + kPatience);
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 20ms));
  body.send(request.substr(request.size() - 3) + post("behind"));
  const Answer answer = body.receive();
  CHECK(answer.status == 202);
  CHECK(answer.has("Connection: close"));
  CHECK(body.ends());
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 20ms));
  CHECK(head.ask(request.substr(30)).status == 202);
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  CHECK(house.delivered() == Strings{"finished", "finished"});
}

TEST_CASE("drain: a request that stays half read is refused when reading is over") {
  House house;
  Client client(house.address());
  client.send("POST /v1/events HT");
  CHECK(eventually([&] { return house.server->counters().answers_owed == 1; }));
  const auto begin = Clock::now();
  house.server->drain(begin + 50ms);
  CHECK(house.server->wait_drained(begin + kPatience));
  CHECK(Clock::now() - begin >= 45ms);
  CHECK(client.receive().status == 503);
  CHECK(client.ends());
}

TEST_CASE("drain: who waits in the listen queue with a request is answered 503, not reset") {
  House house;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<Client>(house.address()));
    clients.back()->send(post("x"));
  }
  house.server->drain(Clock::now() + 1s);
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
  std::size_t taken = 0;
  for (const auto& client : clients) {
    const Answer answer = client->receive();
    CHECK((answer.status == 202 || answer.status == 503));
    if (answer.status == 503) {
      CHECK(answer.has("Retry-After: 1"));
      CHECK(answer.has("Connection: close"));
    }
    taken += answer.status == 202 ? 1 : 0;
  }
  house.server.reset();
  CHECK(house.delivered().size() == taken);
}

TEST_CASE("drain: answers that a client does not read are owed until given up") {
  House house;
  Client client(house.address());
  const int small = 4096;
  ::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  std::string many;
  for (int i = 0; i < 2000; ++i) many += get("/large");
  std::jthread writer([&] { client.send(many); });
  CHECK(eventually([&] { return house.server->counters().answers_owed > 0; }));
  house.server->drain(Clock::now());
  CHECK_FALSE(house.server->wait_drained(Clock::now() + 300ms));
  house.server->give_up();
  CHECK(house.server->wait_drained(Clock::now() + kPatience));
}

TEST_CASE("drain: under load every 202 is delivered, nothing else is, and no answer is lost to a reset") {
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    House house([](Config& config, sluice::Options&) { config.threads = 2; });
    const std::string address = house.address();
    std::atomic<std::size_t> taken{0};
    std::atomic<int> unanswered{0};
    std::atomic<int> answered{0};
    std::vector<std::jthread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&] {
        for (;;) {
          Client client(address);
          if (!client.connected()) return;
          for (;;) {
            client.send(post("a") + post("b") + post("c"));  // pipelined
            bool open = true;
            for (int i = 0; open && i < 3; ++i) {
              const Answer answer = client.receive();
              taken += answer.status == 202 ? 1 : 0;
              answered += 1;
              if (answer.status == 0 && i > 0) unanswered += 1;  // after a 202 that did not say it was the last
              open = answer.status != 0 && !answer.has("Connection: close");
            }
            if (!open) break;
          }
        }
      });
    }
    CHECK(eventually([&] { return answered > 50 * (round + 1); }));
    house.server->drain(Clock::now() + 1s);
    CHECK(house.server->wait_drained(Clock::now() + kPatience));
    house.server.reset();
    clients.clear();
    CHECK(unanswered == 0);
    CHECK(house.delivered().size() == taken);
  }
}
