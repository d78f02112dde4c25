// The door's two kinds of room: the window, and the passage to the disk. Each test is a bound that did not hold, or a
// wait that did not end. One thread, unless a test says otherwise.
#include <doctest/doctest.h>

#include <chrono>
#include <utility>

#include "admission/admission.h"
#include "unit/blocked.h"
#include "unit/tickets.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST_SUITE("lifecycle") {
  TEST_CASE("admission: a passage that is full to the brim leaves the window all of its room") {
    Admission door(10, 1000, 250);
    const auto small = ticket_in(door.try_pass(1000, 249));
    const auto rest = ticket_in(door.try_pass(1, 1));
    REQUIRE((small && rest));
    CHECK_FALSE(door.has_passage(1));
    CHECK(refusal(door.try_pass(1, 1)) == Admit::full);
    CHECK(door.has_room(10, 750));
    const auto window = ticket_in(door.try_admit(10, 750));
    REQUIRE(window);
    CHECK(door.events_out() == 1011);
    CHECK(door.window_events_out() == 10);
    CHECK(door.bytes_out() == door.byte_limit());
  }

  TEST_CASE("admission: a full window leaves the passage all of its room, and no more") {
    Admission door(10, 1000, 250);
    const auto window = ticket_in(door.try_admit(10, 750));
    REQUIRE(window);
    CHECK_FALSE(door.has_passage(251));
    CHECK(refusal(door.try_pass(1, 251)) == Admit::full);
    CHECK(door.bytes_out() == 750);
    CHECK(door.has_passage(250));
    const auto passing = ticket_in(door.try_pass(1, 250));
    CHECK(passing.has_value());
    CHECK(door.bytes_out() == door.byte_limit());
  }

  TEST_CASE("admission: a request larger than the passage takes the rest from the window, and gives both back") {
    Admission door(10, 1000, 250);
    CHECK(refusal(door.try_pass(1, 1001)) == Admit::too_large);
    auto large = ticket_in(door.try_pass(1, 1000));
    REQUIRE(large);
    CHECK(door.window_bytes_out() == 750);
    CHECK(refusal(door.try_admit(1, 1)) == Admit::full);
    CHECK(refusal(door.try_pass(1, 1)) == Admit::full);
    large.reset();
    CHECK(door.bytes_out() == 0);
    const auto other = ticket_in(door.try_pass(1, 1));
    CHECK(refusal(door.try_pass(1, 300)) == Admit::full);
    CHECK(door.bytes_out() == 1);
  }

  TEST_CASE("admission: nobody who passes takes bytes of the window that somebody waits for") {
    Admission door(10, 1000, 250);
    auto window = ticket_in(door.try_admit(1, 600));
    REQUIRE(window);
    std::optional<Ticket> got;
    test::Blocker waiter([&] { got = ticket_in(door.wait_admit(1, 200, Clock::now() + 20s)); });
    REQUIRE(waiter.waits());
    CHECK_FALSE(door.has_passage(251));
    CHECK(refusal(door.try_pass(1, 251)) == Admit::full);
    CHECK(door.has_passage(250));
    window.reset();
    CHECK(waiter.ends());
    CHECK(got.has_value());
    CHECK(door.has_passage(251));
  }

  TEST_CASE("admission: what moves into the window is charged there, and the passage is free for the next") {
    Admission door(10, 1000, 250);
    auto window = ticket_in(door.try_admit(9, 600));
    auto passing = ticket_in(door.try_pass(1, 200));
    auto more = ticket_in(door.try_pass(1, 50));
    REQUIRE((window && passing && more));
    CHECK_FALSE(door.try_move_in(*passing));  // too many bytes
    CHECK(passing->passes());
    CHECK(door.window_bytes_out() == 600);
    CHECK(door.bytes_out() == 850);
    CHECK(door.try_move_in(*more));
    CHECK_FALSE(more->passes());
    CHECK(door.window_bytes_out() == 650);
    window->give_back_events();
    const auto events = ticket_in(door.try_admit(9, 0));
    window.reset();
    CHECK_FALSE(door.try_move_in(*passing));  // one event too many
    CHECK(door.window_bytes_out() == 50);
    CHECK(door.bytes_out() == 250);
    more.reset();
    CHECK(door.try_move_in(*passing));
    CHECK(door.window_bytes_out() == 200);
    CHECK(door.bytes_out() == 200);
    CHECK(door.window_events_out() == 10);
    CHECK(ticket_in(door.try_pass(1, 250)).has_value());
    passing.reset();
    CHECK(door.bytes_out() == 0);
  }

  TEST_CASE("admission: a request larger than the passage moves in with no byte charged twice") {
    Admission door(10, 1000, 250);
    auto large = ticket_in(door.try_pass(1, 700));
    REQUIRE(large);
    CHECK(door.window_bytes_out() == 450);
    CHECK(door.try_move_in(*large));
    CHECK(door.window_bytes_out() == 700);
    CHECK(door.bytes_out() == 700);
    large.reset();
    CHECK(door.bytes_out() == 0);
    auto beyond = ticket_in(door.try_pass(1, 800));
    REQUIRE(beyond);
    CHECK_FALSE(door.try_move_in(*beyond));  // more than the window ever holds
    beyond.reset();
    CHECK(door.bytes_out() == 0);
  }

  TEST_CASE("admission: bytes of the passage go back there, also when their events went before them") {
    Admission door(10, 1000, 250);
    auto passing = ticket_in(door.try_pass(3, 250));
    REQUIRE(passing);
    passing->give_back_events();
    CHECK(door.events_out() == 0);
    CHECK(refusal(door.try_pass(1, 1)) == Admit::full);
    Ticket many;
    many.absorb(std::move(*passing));
    CHECK(door.bytes_out() == 0);
    CHECK(ticket_in(door.try_pass(1, 250)).has_value());
  }

  TEST_CASE("admission: a copy is charged to the window, or to the passage if that is full, or not made") {
    Admission door(10, 1000, 250);
    const auto first = door.try_charge(750);
    const auto second = door.try_charge(250);
    REQUIRE((first && second));
    CHECK_FALSE(door.try_charge(1).has_value());
    CHECK(door.window_bytes_out() == 750);
    CHECK(door.bytes_out() == 1000);
    CHECK(door.events_out() == 0);
  }

  TEST_CASE("admission: the wait for the last event is also for those that pass") {
    Admission door(10, 1000, 250);
    auto passing = ticket_in(door.try_pass(2, 1));
    REQUIRE(passing);
    door.close();
    CHECK(refusal(door.try_pass(1, 1)) == Admit::closed);
    CHECK_FALSE(door.wait_empty(Clock::now()));
    CHECK(door.try_move_in(*passing));
    CHECK(door.window_events_out() == 2);
    CHECK_FALSE(door.wait_empty(Clock::now()));
    passing.reset();
    CHECK(door.wait_empty(Clock::now()));
  }
}
