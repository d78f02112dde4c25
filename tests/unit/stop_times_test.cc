// When a stop was asked for and until when, by handlers that meet: one inside another, or several at once. Each test
// runs what may happen on other threads at the dangerous instants themselves.
#include <doctest/doctest.h>

#include <chrono>
#include <utility>
#include <vector>

#include "host/stop_times.h"

using namespace std::chrono_literals;
using sluice::Deadline;
using sluiced::host::StopTimes;
using std::chrono::nanoseconds;
using Instant = StopTimes::Instant;

namespace {

constexpr nanoseconds kNow = 1000h, kLeast = 100ms, kTimeout = 5s;

const auto kNothing = [](auto) {};

bool has_times(const StopTimes& times) {
  return times.deadline() != Deadline::max() && times.first() != Deadline::max();
}

}  // namespace

TEST_SUITE("stop times") {
  TEST_CASE("stop times: a first signal sets the deadline, a second moves it, a third changes nothing") {
    StopTimes times;
    CHECK(times.stops() == 0);
    CHECK(times.deadline() == Deadline::max());
    times.ask(kNow, kLeast, kTimeout, kNothing, kNothing);
    CHECK(times.stops() == 1);
    CHECK(times.first() == Deadline(kNow));
    CHECK(times.deadline() == Deadline(kNow + kTimeout));
    times.ask(kNow + 1s, kLeast, kTimeout, kNothing, kNothing);
    CHECK(times.stops() == 2);
    CHECK(times.deadline() == Deadline(kNow + 1s + kLeast));
    times.ask(kNow + 1s, 1ms, 1ms, kNothing, kNothing);
    CHECK(times.stops() == 2);
    CHECK(times.first() == Deadline(kNow));
    CHECK(times.deadline() == Deadline(kNow + 1s + kLeast));
  }

  TEST_CASE("stop times: a second signal never moves the deadline back, and the least time is left") {
    StopTimes times;
    times.ask(kNow, kLeast, 0s, kNothing, kNothing);
    CHECK(times.deadline() == Deadline(kNow + kLeast));
    times.ask(kNow + 50ms, kLeast, 0s, kNothing, kNothing);
    CHECK(times.deadline() == Deadline(kNow + kLeast));
  }

  TEST_CASE("stop times: a signal that is counted has its deadline, and the backstop is armed") {
    StopTimes times;
    bool armed = false;
    times.ask(
        kNow, kLeast, kTimeout,
        [&](nanoseconds) {
          armed = true;
          CHECK(times.stops() == 0);
        },
        [&](Instant) { CHECK(times.stops() == 0); });
    CHECK(times.stops() == 1);
    CHECK(armed);
  }

  TEST_CASE("stop times: a second signal before the first has set anything finds no stop without its times") {
    for (const Instant where : {Instant::entered, Instant::timed}) {
      StopTimes times;
      times.ask(kNow, kLeast, kTimeout, kNothing, [&](Instant now) {
        if (now != where) return;
        times.ask(kNow + 1ms, kLeast, kTimeout, kNothing, kNothing);
        CHECK(times.stops() == 1);
        CHECK(has_times(times));
      });
      CHECK(times.stops() == 2);
      CHECK(times.deadline() == Deadline(kNow + 1ms + kLeast));
    }
  }

  TEST_CASE("stop times: a third signal before the first two have set anything counts nothing") {
    StopTimes times;
    times.ask(kNow, kLeast, kTimeout, kNothing, [&](Instant now) {
      if (now != Instant::entered) return;
      times.ask(kNow, kLeast, kTimeout, kNothing, [&](Instant then) {
        if (then != Instant::entered) return;
        times.ask(kNow, kLeast, kTimeout, kNothing, kNothing);
        CHECK((times.stops() == 0 || has_times(times)));
      });
    });
    CHECK(times.stops() == 2);
  }

  TEST_CASE("stop times: the backstop is armed at the nearest deadline last, wherever a second signal comes in") {
    StopTimes times;
    std::vector<nanoseconds> armed;
    const auto arm = [&](nanoseconds at) { armed.push_back(at); };
    // Between the look at the deadline and the arming of the timer.
    const auto arm_late = [&, asked = false](nanoseconds at) mutable {
      if (!std::exchange(asked, true)) times.ask(kNow + 1ms, kLeast, kTimeout, arm, kNothing);
      arm(at);
    };
    times.ask(kNow, kLeast, kTimeout, arm_late, kNothing);
    REQUIRE_FALSE(armed.empty());
    CHECK(armed.back() == kNow + 1ms + kLeast);
  }

  TEST_CASE("stop times: a drain time beyond the clock is for ever, and a second signal still ends it") {
    StopTimes times;
    times.ask(kNow, kLeast, nanoseconds::max(), kNothing, kNothing);
    CHECK(times.deadline() == Deadline::max());
    times.ask(kNow, kLeast, nanoseconds::max(), kNothing, kNothing);
    CHECK(times.deadline() == Deadline(kNow + kLeast));
  }
}
