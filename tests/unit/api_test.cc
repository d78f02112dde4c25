// The library's interface, as a program uses it: what compiles, what does not, and what each call means.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/host.h"
#include "sluice/tracker.h"

using namespace sluice;
using namespace std::chrono_literals;

namespace {

// What does not compile. A temporary that owns its text would dangle in an event.
static_assert(!std::constructible_from<Event, std::string>);
static_assert(!std::constructible_from<Event, const std::string>);
static_assert(!std::constructible_from<Event, std::vector<std::byte>>);
static_assert(!std::constructible_from<Event, std::string, std::string_view>);
static_assert(!std::constructible_from<Event, std::string_view, std::string>);
static_assert(!std::convertible_to<std::string, Event>);
static_assert(std::constructible_from<Event, std::string&>);
static_assert(std::constructible_from<Event, std::string_view>);
static_assert(std::constructible_from<Event, std::string_view, const std::string&>);
static_assert(std::constructible_from<Event, const char*>);
static_assert(std::constructible_from<Event, const char (&)[5]>);
static_assert(std::constructible_from<Event, std::span<const std::byte>>);
static_assert(std::constructible_from<Event, std::vector<std::byte>&>);

// A pending submission cannot be taken for an accepted one.
template <typename T>
concept ComparesWithAdmit = requires(const T& answer) { answer == Admit::accepted; };
static_assert(!ComparesWithAdmit<Submission>);
static_assert(!std::convertible_to<Submission, bool> && !std::convertible_to<Submission, Admit>);

// A handler returns nothing or a verdict. What else it returned would be ignored.
static_assert(std::constructible_from<Handler, void (*)(const Delivery&)>);
static_assert(std::constructible_from<Handler, Verdict (*)(const Delivery&)>);
static_assert(std::constructible_from<Handler, Verdict::Kind (*)(const Delivery&)>);
static_assert(!std::constructible_from<Handler, bool (*)(const Delivery&)>);

struct Seen {
  std::mutex mutex;
  std::vector<std::string> events;  // guarded by mutex; content type and payload
  void add(const Delivery& event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::string(event.content_type) + ":" + std::string(event.text()));
  }
};

Options quiet(Options options = {}) {
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

Verdict judge(std::string_view text) {
  if (text == "bad") return {Verdict::refused, "it is bad"};
  return Verdict::delivered;
}

}  // namespace

TEST_SUITE("api") {
  TEST_CASE("api: texts, temporaries, lists and spans are tracked, with the content type that they imply") {
    const auto seen = std::make_shared<Seen>();
    Tracker tracker(quiet({.workers = 1}), [seen](const Delivery& event) { seen->add(event); });
    const std::string name = "ann";
    const Event a("a"), b("b", "text/x");
    const std::array<Event, 2> two{a, b};
    const std::array<std::byte, 2> bytes{std::byte{'h'}, std::byte{'i'}};
    CHECK(tracker.track("text") == Admit::accepted);
    CHECK(tracker.track(name) == Admit::accepted);
    CHECK(tracker.track("user " + name) == Admit::accepted);
    CHECK(tracker.track(R"({"user":")" + name + "\"}", "application/json") == Admit::accepted);
    CHECK(tracker.track({a, b}) == Admit::accepted);
    CHECK(tracker.track({"first", "second"}) == Admit::accepted);
    CHECK(tracker.track(std::span(two)) == Admit::accepted);
    CHECK(tracker.track(two) == Admit::accepted);
    CHECK(tracker.track(Event(bytes)) == Admit::accepted);
    CHECK(tracker.track({}) == Admit::accepted);
    CHECK(tracker.wait_track("waits " + name, deadline_in(1s)) == Admit::accepted);
    CHECK(tracker.wait_track({a, b}, deadline_in(1s)) == Admit::accepted);
    const Report report = tracker.shutdown(10s);
    CHECK(report.drained());
    CHECK(seen->events == std::vector<std::string>{"text/plain:text", "text/plain:ann", "text/plain:user ann",
                                                   "application/json:{\"user\":\"ann\"}", "text/plain:a", "text/x:b",
                                                   "text/plain:first", "text/plain:second", "text/plain:a", "text/x:b",
                                                   "text/plain:a", "text/x:b", ":hi", "text/plain:waits ann",
                                                   "text/plain:a", "text/x:b"});
  }

  TEST_CASE("api: a submission is pending or refused, and a receipt reports the outcome") {
    Tracker tracker(quiet({.workers = 1, .max_event_bytes = 4}), [](const Delivery&) {});
    std::atomic<int> accepted{0};
    const Receipt receipt = [&](const Outcome& outcome) { accepted += outcome.answer == Admit::accepted ? 1 : 0; };
    const std::vector<Event> one{"1"}, large{"12345"};
    CHECK(tracker.track(one, receipt).pending());
    const Submission refused = tracker.track(large, receipt);
    REQUIRE_FALSE(refused.pending());
    CHECK(refused.refusal() == Admit::too_large);
    CHECK(tracker.shutdown(10s).drained());
    CHECK(tracker.track(one, receipt) == Submission(Admit::closed));
    CHECK(accepted == 1);
  }

  TEST_CASE("api: verdicts are returned by value and compare by kind, and with each other by reason as well") {
    CHECK(judge("good") == Verdict::delivered);
    CHECK(judge("bad") == Verdict::refused);
    CHECK(judge("bad") != Verdict::delivered);
    CHECK(Verdict::refused == judge("bad"));
    CHECK(judge("bad") == judge("bad"));
    CHECK(judge("bad") != Verdict(Verdict::refused, "another reason"));
    CHECK(Verdict() == Verdict::try_again);
    CHECK(judge("bad").is_final());
  }

  TEST_CASE("api: a handler's verdict counts, whatever form it returns it in") {
    const auto report_of = [](Handler handler) {
      Tracker tracker(quiet({.workers = 1}), std::move(handler));
      REQUIRE(tracker.track({"good", "bad"}) == Admit::accepted);
      return tracker.shutdown(10s);
    };
    const Report by_value = report_of([](const Delivery& event) { return judge(event.text()); });
    CHECK(by_value.drained());
    CHECK(by_value.books.delivered == 1);
    CHECK(by_value.books.dead == 1);
    const Report by_kind =
        report_of([](const Delivery& event) { return event.text() == "bad" ? Verdict::refused : Verdict::delivered; });
    CHECK(by_kind.books.dead == 1);
    CHECK(report_of([](const Delivery&) {}).books.delivered == 2);
  }

  TEST_CASE("api: an empty handler is refused in every form") {
    const auto refused = [](Handler handler) {
      try {
        const Tracker tracker(quiet(), std::move(handler));
      } catch (const StartError& error) {
        return error.kind() == StartError::Kind::usage;
      }
      return false;
    };
    CHECK(refused(std::function<void(const Delivery&)>()));
    CHECK(refused(std::function<Verdict(const Delivery&)>()));
    CHECK(refused(static_cast<void (*)(const Delivery&)>(nullptr)));
    CHECK_FALSE(refused([](const Delivery&) {}));
  }

  TEST_CASE("api: only a deadline that passed is called a time-out") {
    for (const Reason reason : {Reason::deadline, Reason::signal, Reason::backstop}) {
      CAPTURE(to_string(reason));
      CHECK(Report{.reason = reason}.timed_out());
      CHECK_FALSE(Report{.reason = reason}.drained());
    }
    for (const Reason reason : {Reason::drained, Reason::fault, Reason::sink}) {
      CAPTURE(to_string(reason));
      CHECK_FALSE(Report{.reason = reason}.timed_out());
      CHECK(Report{.reason = reason}.drained() == (reason == Reason::drained));
    }
  }

  TEST_CASE("api: by default one bad event is given up while others pass, and an outage costs no event") {
    const auto down = std::make_shared<std::atomic<bool>>(true);
    const auto failures = std::make_shared<std::atomic<int>>(0);
    Options options = quiet({.workers = 1, .batch_events = 1, .retry_min = 100us, .retry_max = 100us});
    Tracker tracker(options, [down, failures](const Delivery& event) {
      if (!*down && event.text() != "bad") return;
      ++*failures;
      throw std::runtime_error("no");
    });
    const auto wait_for = [](auto holds) {
      for (const Deadline end = deadline_in(20s); std::chrono::steady_clock::now() < end; std::this_thread::yield()) {
        if (holds()) return true;
      }
      return false;
    };
    REQUIRE(tracker.track({"bad", "good"}) == Admit::accepted);

    CHECK(wait_for([&] { return *failures > 100; }));
    CHECK(tracker.books().dead == 0);
    *down = false;
    CHECK(wait_for([&] {
      static_cast<void>(tracker.track("good"));
      return tracker.books().dead == 1;
    }));
    const Report report = tracker.shutdown(10s);
    CHECK(report.drained());
    CHECK(report.books.dead == 1);
  }

  TEST_CASE("api: a retry limit of 0 has no exception") {
    const auto attempts = std::make_shared<std::atomic<std::uint32_t>>(0);
    Options options =
        quiet({.workers = 1, .batch_events = 1, .retry_min = 100us, .retry_max = 100us, .retry_limit = 0});
    Tracker tracker(options, [attempts](const Delivery& event) {
      if (event.text() != "bad") return;
      *attempts = event.attempt;
      throw std::runtime_error("no");
    });
    REQUIRE(tracker.track("bad") == Admit::accepted);
    while (*attempts < 60) {
      static_cast<void>(tracker.track("good"));
      std::this_thread::yield();
    }
    CHECK(tracker.books().dead == 0);
    CHECK(tracker.shutdown(1s).reason == Reason::sink);
  }
}
