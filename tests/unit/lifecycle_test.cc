// Starting and stopping: the door, the gate, the claim, the table of phases, the coordinator.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "lifecycle/admission.h"
#include "lifecycle/shutdown.h"
#include "sluice/gate.h"
#include "sluice/phase.h"
#include "workers/claim.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

Ticket admitted(Admission& door, std::size_t events, std::size_t bytes) {
  auto answer = door.try_admit(events, bytes);
  REQUIRE(std::holds_alternative<Ticket>(answer));
  return std::move(std::get<Ticket>(answer));
}

Admit refusal(std::variant<Ticket, Admit> answer) {
  return std::holds_alternative<Ticket>(answer) ? Admit::accepted : std::get<Admit>(answer);
}

// Waits, with a limit, until the condition holds.
template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

}  // namespace

TEST_SUITE("lifecycle") {
  TEST_CASE("admission: it takes up to its bounds in events and bytes, and not one more") {
    Admission door(10, 1000);
    const Ticket nine = admitted(door, 9, 100);
    CHECK(refusal(door.try_admit(2, 1)) == Admit::full);
    CHECK(refusal(door.try_admit(1, 901)) == Admit::full);
    const Ticket one = admitted(door, 1, 900);
    CHECK(refusal(door.try_admit(1, 0)) == Admit::full);
    CHECK(door.events_out() == 10);
    CHECK(door.bytes_out() == 1000);
  }

  TEST_CASE("admission: what an empty door could not take is too large, not full") {
    Admission door(10, 1000);
    CHECK(refusal(door.try_admit(11, 1)) == Admit::too_large);
    CHECK(refusal(door.try_admit(1, 1001)) == Admit::too_large);
  }

  TEST_CASE("admission: a ticket gives back what is left in it, events handed over return one by one") {
    Admission door(10, 1000);
    {
      Ticket ticket = admitted(door, 4, 400);
      ticket.hand_over_events();
      door.give_back_events(3);
      CHECK(door.events_out() == 1);
    }
    CHECK(door.events_out() == 1);
    CHECK(door.bytes_out() == 0);
    door.give_back_events(1);
    CHECK(door.events_out() == 0);
  }

  TEST_CASE("admission: a closed door refuses, and its wait ends with the last event") {
    Admission door(10, 1000);
    Ticket ticket = admitted(door, 1, 1);
    door.close();
    CHECK(refusal(door.try_admit(1, 1)) == Admit::closed);
    CHECK_FALSE(door.wait_empty(Clock::now()));
    std::jthread giver([&] { const Ticket mine = std::move(ticket); });
    CHECK(door.wait_empty(Clock::now() + 10s));
  }

  TEST_CASE("admission: hasten ends a wait that is under way") {
    Admission door(10, 1000);
    const Ticket ticket = admitted(door, 1, 1);
    door.close();
    std::atomic<bool> ended{false};
    std::jthread waiter([&] {
      CHECK_FALSE(door.wait_empty(Clock::now() + 1h));
      ended = true;
    });
    door.hasten(Clock::now());
    CHECK(eventually([&] { return ended.load(); }));
  }

  TEST_CASE("admission: who waits for room gets it when it comes, is told of the close, and gives up at its deadline") {
    Admission door(1, 1000);
    auto ticket = std::make_optional(admitted(door, 1, 1));
    CHECK(refusal(door.wait_admit(1, 1, Clock::now() + 1ms)) == Admit::full);

    std::atomic<int> got{-1};
    std::jthread waiter([&] { got = static_cast<int>(refusal(door.wait_admit(1, 1, Clock::now() + 1h))); });
    ticket.reset();
    CHECK(eventually([&] { return got.load() == static_cast<int>(Admit::accepted); }));
    waiter.join();

    const Ticket again = admitted(door, 1, 1);
    got = -1;
    std::jthread other([&] { got = static_cast<int>(refusal(door.wait_admit(1, 1, Clock::now() + 1h))); });
    door.close();
    CHECK(eventually([&] { return got.load() == static_cast<int>(Admit::closed); }));
  }

  TEST_CASE("admission: who watches hears of what came back, of a nudge and of the close, and of nothing else") {
    Admission door(2, 1000);
    auto ticket = std::make_optional(admitted(door, 1, 1));
    const Admission::Watch watch(door);
    std::uint64_t seen = watch.changes();
    const auto hears = [&] {
      if (!watch.wait_change(seen, Clock::now() + 1ms)) return false;
      seen = watch.changes();
      return true;
    };
    CHECK_FALSE(hears());
    const Ticket more = admitted(door, 1, 1);
    CHECK_FALSE(door.has_room(1, 1));
    CHECK_FALSE(hears());
    ticket.reset();
    CHECK(door.has_room(1, 1));
    CHECK(hears());
    CHECK_FALSE(hears());
    door.nudge();
    CHECK(hears());
    door.close();
    CHECK(hears());
  }

  TEST_CASE("admission: many who wait for bytes and events all get through") {
    Admission door(3, 30);
    std::atomic<int> through{0};
    {
      std::vector<std::jthread> producers;
      for (int p = 0; p < 8; ++p) {
        producers.emplace_back([&, p] {
          for (int i = 0; i < 500; ++i) {
            auto answer = door.wait_admit(1, static_cast<std::size_t>(5 + p * 3), Clock::now() + 1h);
            if (std::holds_alternative<Ticket>(answer)) ++through;
          }
        });
      }
    }
    CHECK(through == 8 * 500);
    CHECK(door.events_out() == 0);
    CHECK(door.bytes_out() == 0);
  }

  TEST_CASE("admission: nobody slips in between closing and waiting") {
    for (int round = 0; round < 200; ++round) {
      Admission door(1000, 100000);
      std::atomic<std::uint64_t> in{0}, out{0};
      std::vector<std::jthread> producers;
      for (int p = 0; p < 4; ++p) {
        producers.emplace_back([&] {
          for (;;) {
            auto answer = door.try_admit(1, 1);
            if (std::holds_alternative<Admit>(answer)) {
              if (std::get<Admit>(answer) == Admit::closed) return;
              continue;
            }
            ++in;
            ++out;  // before the ticket goes back
          }
        });
      }
      while (in < 50) std::this_thread::yield();
      door.close();
      REQUIRE(door.wait_empty(Clock::now() + 10s));
      const auto seen_in = in.load();
      const auto seen_out = out.load();
      for (auto& producer : producers) producer.join();
      REQUIRE(in == seen_in);  // nobody entered after the door was seen closed and empty
      REQUIRE(out == seen_out);
    }
  }

  TEST_CASE("gate: it counts who is inside, refuses once closed, and waits for the last") {
    Gate gate;
    auto first = gate.try_enter();
    auto second = gate.try_enter();
    REQUIRE(first);
    CHECK(gate.inside() == 2);
    gate.close();
    CHECK_FALSE(gate.try_enter());
    CHECK_FALSE(gate.wait_empty(1ms));
    first.reset();
    std::jthread leaver([&] { second.reset(); });
    CHECK(gate.wait_empty(10s));
  }

  TEST_CASE("claim: of worker and coordinator exactly one gets the outcome") {
    std::minstd_rand random(1);
    int kept = 0;
    int rounds = 0;
    // Until each has won a hundred times.
    for (; rounds < 100000 && (kept < 100 || rounds - kept < 100); ++rounds) {
      Claim claim;
      claim.take();
      claim.enter_sink();
      bool worker_won = false;
      std::jthread worker([&] {
        worker_won = claim.answer();
        if (worker_won) claim.rest();
      });
      // A thread takes some 20 to 100 µs to get going.
      const auto at = Clock::now() + std::chrono::microseconds(random() % 200);
      while (Clock::now() < at) static_cast<void>(claim.state());
      const bool coordinator_won = claim.keep();
      worker.join();
      REQUIRE(worker_won != coordinator_won);
      kept += coordinator_won ? 1 : 0;
    }
    CHECK(kept >= 100);
    CHECK(rounds - kept >= 100);
  }

  TEST_CASE("phase: every phase answers everything, and none goes back") {
    for (int p = 0; p <= static_cast<int>(Phase::stopped); ++p) {
      for (int h = 0; h <= static_cast<int>(Happening::reported); ++h) {
        const Step answer = step(static_cast<Phase>(p), static_cast<Happening>(h));
        CHECK(static_cast<int>(answer.next) >= p);
        if (answer.response == Response::ignore) CHECK(answer.next == static_cast<Phase>(p));
      }
    }
  }

  TEST_CASE("phase: a hup is honoured while anything still runs, a term only hastens what has begun to stop") {
    for (const Phase p : {Phase::starting, Phase::running, Phase::closing, Phase::draining, Phase::expired}) {
      CHECK(step(p, Happening::hup).response == Response::reopen);
      CHECK(step(p, Happening::hup).next == p);
    }
    CHECK(step(Phase::draining, Happening::term).response == Response::hasten);
    CHECK(step(Phase::stopped, Happening::term).response == Response::ignore);
  }

  TEST_CASE("coordinator: the first runs the stop, the others get its report, the nearest deadline counts") {
    ShutdownCoordinator stop;
    const auto now = Clock::now();
    CHECK(stop.begin(now + 1h));
    CHECK_FALSE(stop.begin(now + 2h));
    CHECK(stop.deadline() == now + 1h);
    CHECK_FALSE(stop.begin(now + 1min));
    CHECK(stop.deadline() == now + 1min);
    CHECK_FALSE(stop.hastened());
    stop.hasten(now + 2min);
    CHECK_FALSE(stop.hastened());
    stop.hasten(now + 1s);
    CHECK(stop.hastened());
    std::jthread other([&] { CHECK(stop.wait_report().books.accepted == 7); });
    Report report;
    report.books.accepted = 7;
    stop.finish(report);
  }

  TEST_CASE("coordinator: a stop cuts a backoff that is under way") {
    ShutdownCoordinator stop;
    static_cast<void>(stop.on(Happening::ready));
    std::atomic<bool> over{false};
    std::jthread worker([&] {
      stop.wait_backoff(1h);
      over = true;
    });
    CHECK(stop.begin(Clock::now() + 100ms));  // a tenth of it: 10 ms
    CHECK(eventually([&] { return over.load(); }));
  }
}
