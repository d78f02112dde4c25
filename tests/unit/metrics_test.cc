// Numbers for a monitoring system: that each look is right, that none goes back, and how they read as text.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "admin/metrics.h"
#include "sluice/host.h"
#include "sluice/tracker.h"
#include "support/temp_dir.h"
#include "workers/tally.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

// Holds its workers until it is opened.
class Barrier {
 public:
  void open() { open_.set_value(); }
  void wait() const { opened_.wait(); }

 private:
  std::promise<void> open_;
  std::shared_future<void> opened_ = open_.get_future().share();
};

// True once `what` is; false if it is not within some seconds.
template <typename What>
bool comes_true(What what) {
  const auto limit = Clock::now() + 10s;
  while (!what()) {
    if (Clock::now() > limit) return false;
    std::this_thread::sleep_for(1ms);  // between looks
  }
  return true;
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("metrics: what equals a bound is below it, one more is above, and the last bucket takes the rest") {
  Tally tally(kEventBuckets);
  for (const std::uint64_t value : {1, 2, 3, 65536, 65537}) tally.add(value);
  Histogram shown;
  tally.show(shown);
  REQUIRE(shown.counts.size() == shown.bounds.size() + 1);
  CHECK(shown.bounds.front() == 1);
  CHECK(shown.bounds.back() == 65536);
  CHECK(shown.counts[0] == 1);
  CHECK(shown.counts[1] == 1);
  CHECK(shown.counts[2] == 1);
  CHECK(shown.counts[shown.counts.size() - 2] == 1);
  CHECK(shown.counts.back() == 1);
  CHECK(shown.count() == 5);
  CHECK(shown.sum == 1 + 2 + 3 + 65536 + 65537);
}

TEST_CASE("metrics: two threads' histograms add up, and times are shown in seconds") {
  Tally one(kTimeBuckets);
  Tally other(kTimeBuckets);
  one.add(std::chrono::nanoseconds(2s));
  other.add(std::chrono::nanoseconds(2s));
  other.add(std::chrono::nanoseconds(-1ns));  // a clock that jumped is no reason to count 584 years
  Histogram shown;
  one.show(shown);
  other.show(shown);
  CHECK(shown.count() == 3);
  CHECK(shown.counts.front() == 1);
  CHECK(shown.sum == 4.0);
  CHECK(shown.bounds.front() == 0.0001);
}

TEST_CASE("metrics: a sink that hangs is seen to be busy while it hangs") {
  BusyTime busy;
  CHECK(busy.so_far() == 0ns);
  busy.begin(Clock::now() - 3s);
  CHECK(busy.so_far() >= 3s);
  CHECK(busy.so_far() < 4s);
  const auto later = Clock::now();
  busy.end(later);
  const auto once = busy.so_far();
  CHECK(once >= 3s);
  CHECK(busy.so_far() == once);
  busy.begin(later);
  busy.end(later + 1s);
  CHECK(busy.so_far() == once + 1s);
}

TEST_CASE("metrics: busy time never goes back for anybody who looks") {
  BusyTime busy;
  // A writer that was put to sleep between its clock and its store.
  busy.begin(Clock::now() - 3s);
  const auto shown = busy.so_far();
  busy.end(Clock::now() - 1s);
  CHECK(busy.so_far() >= shown);

  std::atomic<bool> done{false};
  const auto look = [&] {
    std::chrono::nanoseconds before{0};
    std::size_t went_back = 0;
    while (!done.load()) {
      const auto now = busy.so_far();
      went_back += now < before ? 1 : 0;
      before = now;
    }
    return went_back;
  };
  auto first = std::async(std::launch::async, look);
  auto second = std::async(std::launch::async, look);
  for (int i = 0; i < 100'000; ++i) {
    busy.begin(Clock::now());
    busy.end(Clock::now());
  }
  done.store(true);
  CHECK(first.get() == 0);
  CHECK(second.get() == 0);
}

TEST_CASE("metrics: under load every look finds the books balanced, and no more kept than the door lets in") {
  constexpr std::size_t kDoor = 64;
  Options options;
  options.workers = 2;
  options.queue_events = kDoor;
  options.batch_events = 4;
  Tracker tracker(std::move(options), [](const Delivery&) {});
  std::atomic<bool> done{false};
  std::vector<std::jthread> producers;
  for (int i = 0; i < 2; ++i) {
    producers.emplace_back([&] {
      const std::vector<Event> events(8, Event("x"));
      while (!done.load()) static_cast<void>(tracker.track(events));
    });
  }
  Books before;
  std::size_t unbalanced = 0, too_many = 0, went_back = 0;
  const auto check = [&](const Books& now) {
    unbalanced += now.balanced() && now.delivered <= now.accepted ? 0 : 1;
    too_many += now.kept > kDoor ? 1 : 0;
    went_back += now.accepted < before.accepted || now.delivered < before.delivered ? 1 : 0;
    before = now;
  };
  // Mostly books alone, which are where it could go wrong: so that a look that is interrupted is one in its middle.
  for (int i = 0; i < 20'000; ++i) {
    check(Host(tracker).metrics().books);
    for (int k = 0; k < 400; ++k) check(tracker.books());
  }
  done.store(true);
  producers.clear();
  CHECK(unbalanced == 0);
  CHECK(too_many == 0);
  CHECK(went_back == 0);

  CHECK(tracker.shutdown(10s).reason == Reason::drained);
  const Metrics last = Host(tracker).metrics();
  CHECK(last.books.accepted > 1000);  // or there was no load
  CHECK(last.books.kept == 0);
  CHECK(last.batch_events.sum == static_cast<double>(last.books.delivered));
  CHECK(last.batch_events.count() == last.sink_seconds.count());
}

TEST_CASE("metrics: at rest what is kept is what is in memory, and of that in flight what a sink holds") {
  Barrier barrier;
  Options options;
  options.workers = 1;
  options.batch_events = 3;
  options.queue_events = 10;
  options.max_event_bytes = 100;
  Tracker tracker(std::move(options), [&](const Delivery&) { barrier.wait(); });
  const std::vector<Event> events(10, Event("x"));
  REQUIRE(tracker.track(events) == Admit::accepted);
  REQUIRE(comes_true([&] { return Host(tracker).metrics().in_flight == 3; }));
  const Metrics now = Host(tracker).metrics();
  CHECK(now.books.kept == 10);
  CHECK(now.queue_events == 10);
  CHECK(now.queue_bytes > 0);
  CHECK(now.journal_bytes == 0);
  CHECK(now.commit_seconds.count() == 0);
  CHECK(now.commit_seconds.bounds.size() > 0);  // there from the first look on
  REQUIRE(now.worker_busy.size() == 1);
  CHECK(comes_true([&] { return Host(tracker).metrics().worker_busy[0] > now.worker_busy[0]; }));

  const std::string large(101, 'x');
  CHECK(tracker.track(Event("one more")) == Admit::full);
  CHECK(tracker.wait_track(events, Clock::now() + 10ms) == Admit::full);
  CHECK(tracker.track(Event(large)) == Admit::too_large);
  barrier.open();
  CHECK(tracker.shutdown(10s).reason == Reason::drained);
  CHECK(tracker.track(events) == Admit::closed);
  const Metrics last = Host(tracker).metrics();
  CHECK(last.refused.full == 11);
  CHECK(last.refused.too_large == 1);
  CHECK(last.refused.closed == 10);
  CHECK(last.in_flight == 0);
  CHECK(last.queue_events == 0);
}

TEST_CASE("metrics: who waits for room in vain is refused once, however often the tracker looked") {
  const test::TempDir dir;
  Barrier barrier;
  Options options;
  options.workers = 1;
  options.queue_events = 2;
  options.ack = Ack::synced;
  options.state_dir = dir.path();
  Tracker tracker(std::move(options), [&](const Delivery&) { barrier.wait(); });
  const std::vector<Event> events(2, Event("x"));
  REQUIRE(tracker.track(events) == Admit::accepted);
  CHECK(tracker.wait_track(events, Clock::now() + 50ms) == Admit::full);
  CHECK(Host(tracker).metrics().refused.full == 2);
  CHECK(tracker.status().refused_full == 2);
  // A commit is timed, and the journal has a size.
  CHECK(Host(tracker).metrics().commit_seconds.count() == 1);
  CHECK(Host(tracker).metrics().commit_seconds.sum > 0);
  CHECK(Host(tracker).metrics().journal_bytes > 0);
  barrier.open();
  CHECK(tracker.shutdown(10s).reason == Reason::drained);
}

TEST_CASE("metrics: the request under which the disk fails has no known end, those behind it are refused") {
  const test::TempDir dir;
  const auto state = dir.path() / "state";
  Options options;
  options.workers = 1;
  options.ack = Ack::synced;
  options.state_dir = state;
  options.log = [](LogLevel, std::string_view) {};
  Tracker tracker(std::move(options), [](const Delivery&) {});
  const std::vector<Event> events(3, Event("x"));
  REQUIRE(tracker.track(Event("x")) == Admit::accepted);
  std::filesystem::remove_all(state);
  std::ofstream(state) << "in the way\n";  // so that it does not recover
  CHECK(tracker.track(events) == Admit::failed);
  CHECK(Host(tracker).metrics().refused.unknown == 3);
  CHECK(Host(tracker).metrics().refused.failed == 0);
  CHECK(tracker.track(Event("y")) == Admit::failed);
  CHECK(Host(tracker).metrics().refused.unknown == 3);
  CHECK(Host(tracker).metrics().refused.failed == 1);
  CHECK(Host(tracker).metrics().books.accepted == 1);
  CHECK(Host(tracker).metrics().commit_seconds.count() == 2);  // the failed one took its time too
}

TEST_CASE("metrics: every name of the design is there, with its type, help and labels, from the first scrape on") {
  Options options;
  options.workers = 2;
  Tracker tracker(std::move(options), [](const Delivery&) {});
  const std::string text = sluiced::admin::metrics_text(Host(tracker).metrics(), {});
  std::set<std::string> types;
  for (std::size_t at = 0; (at = text.find("# TYPE ", at)) != std::string::npos;) {
    const std::size_t end = text.find('\n', at);
    types.insert(text.substr(at + 7, end - at - 7));
    at = end;
  }
  CHECK(types == std::set<std::string>{"sluice_accepted_total counter",
                                       "sluice_delivered_total counter",
                                       "sluice_dead_total counter",
                                       "sluice_lost_total counter",
                                       "sluice_replayed_total counter",
                                       "sluice_refused_total counter",
                                       "sluice_kept gauge",
                                       "sluice_queue_events gauge",
                                       "sluice_queue_bytes gauge",
                                       "sluice_in_flight gauge",
                                       "sluice_retry_events gauge",
                                       "sluice_sink_failing gauge",
                                       "sluice_journal_bytes gauge",
                                       "sluice_journal_unreadable_bytes gauge",
                                       "sluice_workers gauge",
                                       "sluice_worker_busy_seconds_total counter",
                                       "sluice_batch_events histogram",
                                       "sluice_sink_seconds histogram",
                                       "sluice_commit_seconds histogram",
                                       "sluice_drain_seconds_left gauge"});
  for (const std::string& type : types) {
    CHECK(text.find("# HELP " + type.substr(0, type.find(' ')) + " ") != std::string::npos);
  }
  for (const char* const line :
       {"sluice_accepted_total 0", "sluice_refused_total{reason=\"full\"} 0",
        "sluice_refused_total{reason=\"failed\"} 0", "sluice_workers 2",
        "sluice_worker_busy_seconds_total{worker=\"1\"} 0", "sluice_batch_events_bucket{le=\"512\"} 0",
        "sluice_sink_seconds_bucket{le=\"0.0025\"} 0", "sluice_commit_seconds_bucket{le=\"+Inf\"} 0",
        "sluice_commit_seconds_count 0"}) {
    CHECK_MESSAGE(has_line(text, line), line);
  }
}

TEST_CASE("metrics: the text says what the numbers say, and refusals at the door and before it are one sum") {
  Metrics metrics;
  metrics.books = {.accepted = 20, .delivered = 10, .dead = 3, .kept = 5, .lost = 2, .replayed = 4};
  metrics.refused = {.full = 1, .too_large = 2, .closed = 3, .failed = 4, .unknown = 5};
  metrics.worker_busy = {1500ms};
  metrics.retry_events = 6;
  metrics.sink_failing = true;
  metrics.batch_events = {.bounds = {1, 2}, .counts = {3, 0, 4}, .sum = 43};
  sluiced::admin::Edge edge;
  edge.refused["full"] = 10;
  edge.refused["mal\"for\\med\n"] = 7;  // not a reason of ours; but no label may end a line
  edge.drain_left = 2500ms;
  const std::string text = sluiced::admin::metrics_text(metrics, edge);
  for (const char* const line : {"sluice_accepted_total 20",
                                 "sluice_delivered_total 10",
                                 "sluice_dead_total 3",
                                 "sluice_kept 5",
                                 "sluice_lost_total 2",
                                 "sluice_retry_events 6",
                                 "sluice_sink_failing 1",
                                 "sluice_replayed_total 4",
                                 "sluice_refused_total{reason=\"full\"} 11",
                                 "sluice_refused_total{reason=\"too_large\"} 2",
                                 "sluice_refused_total{reason=\"closed\"} 3",
                                 "sluice_refused_total{reason=\"failed\"} 4",
                                 "sluice_refused_total{reason=\"unknown\"} 5",
                                 R"(sluice_refused_total{reason="mal\"for\\med\n"} 7)",
                                 "sluice_worker_busy_seconds_total{worker=\"0\"} 1.5",
                                 "sluice_batch_events_bucket{le=\"1\"} 3",
                                 "sluice_batch_events_bucket{le=\"2\"} 3",
                                 "sluice_batch_events_bucket{le=\"+Inf\"} 7",
                                 "sluice_batch_events_count 7",
                                 "sluice_batch_events_sum 43",
                                 "sluice_drain_seconds_left 2.5"}) {
    CHECK_MESSAGE(has_line(text, line), line);
  }
}

TEST_CASE("metrics: the time left is of a stop, never below 0, and without a stop no number that an alert could meet") {
  CHECK(has_line(sluiced::admin::metrics_text({}, {.refused = {}, .drain_left = -1s}), "sluice_drain_seconds_left 0"));
  CHECK(has_line(sluiced::admin::metrics_text({}, {}), "sluice_drain_seconds_left Nan"));
}
