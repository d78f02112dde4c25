// Start and stop: admission, the gate, the claim, the table of phases, the coordinator.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "sluice/gate.h"
#include "sluice/phase.h"
#include "unit/blocked.h"
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
    bool empty = true;
    test::Blocker waiter([&] { empty = door.wait_empty(Clock::now() + 20s); });
    CHECK(waiter.waits());
    door.hasten(Clock::now());
    CHECK(waiter.ends());
    CHECK_FALSE(empty);
  }

  TEST_CASE("admission: who waits for room gives up at its deadline, and is told of the close") {
    Admission door(1, 1000);
    const Ticket ticket = admitted(door, 1, 1);
    CHECK(refusal(door.wait_admit(1, 1, Clock::now() + 1ms)) == Admit::full);
    Admit got = Admit::accepted;
    test::Blocker waiter([&] { got = refusal(door.wait_admit(1, 1, Clock::now() + 20s)); });
    REQUIRE(waiter.waits());
    door.close();
    CHECK(waiter.ends());
    CHECK(got == Admit::closed);
  }

  TEST_CASE("admission: who waits for events is woken by the one that leaves") {
    for (const bool by_itself : {false, true}) {  // its bytes go with it, or are still out
      CAPTURE(by_itself);
      Admission door(1, 1000);
      Ticket ticket = admitted(door, 1, 1);
      Admit got = Admit::full;
      test::Blocker waiter([&] { got = refusal(door.wait_admit(1, 1, Clock::now() + 20s)); });
      REQUIRE(waiter.waits());
      if (by_itself) {
        ticket.give_back_events();
      } else {
        ticket = Ticket();
      }
      CHECK(waiter.ends());
      CHECK(got == Admit::accepted);
    }
  }

  TEST_CASE("admission: who waits for bytes is woken by those that come back, of either kind") {
    for (const bool passes : {false, true}) {
      CAPTURE(passes);
      Admission door(10, 1000, 250);
      auto answer = passes ? door.try_pass(1, 1000) : door.try_admit(1, 750);  // all of the window
      REQUIRE(std::holds_alternative<Ticket>(answer));
      std::get<Ticket>(answer).give_back_events();
      Admit got = Admit::full;
      test::Blocker waiter([&] { got = refusal(door.wait_admit(1, 750, Clock::now() + 20s)); });
      REQUIRE(waiter.waits());
      answer = Admit::full;
      CHECK(waiter.ends());
      CHECK(got == Admit::accepted);
    }
  }

  TEST_CASE("admission: who still waits is woken when another has given up") {
    Admission door(1, 1000);
    auto ticket = std::make_optional(admitted(door, 1, 1));
    Admit got = Admit::full;
    test::Blocker waiter([&] { got = refusal(door.wait_admit(1, 1, Clock::now() + 20s)); });
    REQUIRE(waiter.waits());
    CHECK(refusal(door.wait_admit(1, 1, Clock::now() + 1ms)) == Admit::full);
    REQUIRE(waiter.waits());
    ticket.reset();
    CHECK(waiter.ends());
    CHECK(got == Admit::accepted);
  }

  TEST_CASE("admission: the wait for the last event ends with it, and not with the one before") {
    Admission door(10, 1000);
    auto first = std::make_optional(admitted(door, 1, 1));
    auto last = std::make_optional(admitted(door, 1, 1));
    door.close();
    bool empty = false;
    test::Blocker waiter([&] { empty = door.wait_empty(Clock::now() + 20s); });
    REQUIRE(waiter.waits());
    first.reset();
    CHECK_FALSE(door.wait_empty(Clock::now()));
    CHECK(waiter.waits());
    last.reset();
    CHECK(waiter.ends());
    CHECK(empty);
  }

  TEST_CASE("admission: the wait for the last event ends with one that passes") {
    Admission door(10, 1000, 250);
    auto passing = door.try_pass(1, 1);
    auto window = std::make_optional(admitted(door, 1, 1));
    door.close();
    bool empty = false;
    test::Blocker waiter([&] { empty = door.wait_empty(Clock::now() + 20s); });
    REQUIRE(waiter.waits());
    window.reset();
    CHECK(waiter.waits());
    passing = Admit::full;
    CHECK(waiter.ends());
    CHECK(empty);
  }

  TEST_CASE("admission: a second hasten never gives time back") {
    Admission door(10, 1000);
    const Ticket ticket = admitted(door, 1, 1);
    door.hasten(Clock::now());
    door.hasten(Clock::now() + 20s);
    bool empty = true;
    test::Blocker waiter([&] { empty = door.wait_empty(Clock::now() + 20s); });
    CHECK(waiter.ends());  // within 10 s
    CHECK_FALSE(empty);
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
      REQUIRE(claim.enter_sink());
      bool worker_won = false;
      std::jthread worker([&] {
        worker_won = claim.answer();
        if (worker_won) claim.rest();
      });
      // A thread takes some 20 to 100 µs to get going.
      const auto at = Clock::now() + std::chrono::microseconds(random() % 200);
      while (Clock::now() < at) static_cast<void>(claim.state());
      const bool coordinator_won = claim.keep(Clock::now());
      worker.join();
      REQUIRE(worker_won != coordinator_won);
      kept += coordinator_won ? 1 : 0;
    }
    CHECK(kept >= 100);
    CHECK(rounds - kept >= 100);
  }

  TEST_CASE(
      "claim: what a worker has taken by the deadline never gets into its sink, nor what it has there to its books") {
    Claim taken;
    taken.take();
    CHECK(taken.keep(Clock::now()));
    CHECK_FALSE(taken.enter_sink());
    Claim in_sink;
    in_sink.take();
    REQUIRE(in_sink.enter_sink());
    CHECK(in_sink.keep(Clock::now()));
    CHECK_FALSE(in_sink.bury());
    CHECK_FALSE(in_sink.answer());
    Claim idle;
    CHECK_FALSE(idle.keep(Clock::now()));
  }

  TEST_CASE("phase: every phase answers every signal, and none goes back") {
    for (int p = 0; p <= static_cast<int>(Phase::stopped); ++p) {
      for (int s = 0; s <= static_cast<int>(Signal::reported); ++s) {
        CHECK(static_cast<int>(next_phase(static_cast<Phase>(p), static_cast<Signal>(s))) >= p);
      }
    }
  }

  TEST_CASE("phase: a signal that means nothing in a phase changes nothing, and each step has its own cause") {
    // All steps of a stop: from which phase, by which signal, to which phase. All other pairs change nothing.
    struct Way {
      Phase from;
      Signal by;
      Phase to;
    };
    using enum Phase;
    using enum Signal;
    constexpr std::array kWays{Way{starting, ready, running},    Way{starting, stop, closing},
                               Way{running, stop, closing},      Way{closing, door_closed, draining},
                               Way{draining, deadline, expired}, Way{draining, reported, stopped},
                               Way{expired, reported, stopped}};
    for (int p = 0; p <= static_cast<int>(stopped); ++p) {
      for (int s = 0; s <= static_cast<int>(reported); ++s) {
        CAPTURE(p);
        CAPTURE(s);
        const auto from = static_cast<Phase>(p);
        const auto by = static_cast<Signal>(s);
        const auto* const way =
            std::ranges::find_if(kWays, [&](const Way& one) { return one.from == from && one.by == by; });
        CHECK(next_phase(from, by) == (way == kWays.end() ? from : way->to));
      }
    }
  }

  TEST_CASE("coordinator: a request for a stop makes the phase closing, and an expired drain does not come back") {
    ShutdownCoordinator stop;
    stop.advance(Signal::ready);
    CHECK(stop.phase() == Phase::running);
    CHECK(stop.begin(Clock::now()));
    CHECK(stop.phase() == Phase::closing);
    stop.advance(Signal::ready);
    CHECK(stop.phase() == Phase::closing);
    stop.advance(Signal::door_closed);
    stop.advance(Signal::deadline);
    CHECK(stop.phase() == Phase::expired);
    CHECK_FALSE(stop.begin(Clock::now()));
    CHECK(stop.phase() == Phase::expired);
    stop.advance(Signal::reported);
    CHECK(stop.phase() == Phase::stopped);
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
  }

  TEST_CASE("coordinator: others that asked for the stop wait for its report") {
    ShutdownCoordinator stop;
    CHECK(stop.begin(Clock::now() + 1h));
    std::uint64_t accepted = 0;
    test::Blocker other([&] { accepted = stop.wait_report().books.accepted; });
    REQUIRE(other.waits());
    Report report;
    report.books.accepted = 7;
    stop.finish(report);
    CHECK(other.ends());
    CHECK(accepted == 7);
    CHECK(stop.wait_report().books.accepted == 7);
  }
}
