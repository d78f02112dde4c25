// More than memory holds, in process and on real files: the seam between memory and disk, crossed again and again while
// events keep coming; and an event that its sink never takes. The producers' and the sink's threads are the test's own,
// so the sanitizers see both sides of the seam.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sluice/error.h"
#include "sluice/tracker.h"
#include "support/temp_dir.h"

using namespace sluice;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kWindow = 64;
constexpr std::size_t kProducers = 2;

template <typename Condition>
bool eventually(Condition holds, std::chrono::seconds limit = 20s) {
  for (const auto end = Clock::now() + limit; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

Options on_disk(const std::filesystem::path& state_dir, Ack ack) {
  Options options;
  options.state_dir = state_dir;
  options.ack = ack;
  options.overflow = Overflow::disk;
  options.queue_events = kWindow;
  options.queue_bytes = std::size_t{1} << 20U;
  options.journal_bytes = 8U << 20U;  // segments of 1 MiB: the seam is crossed at their ends too
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

// On the state directory of a tracker that is gone. Threads that had not ended when its deadline came were let go, and
// hold the directory until they do.
template <typename Sink>
std::unique_ptr<Tracker> start_again(const Options& options, const Sink& sink) {
  std::unique_ptr<Tracker> tracker;
  REQUIRE(eventually([&] {
    try {
      tracker = std::make_unique<Tracker>(options, sink);
    } catch (const StartError& error) {
      if (error.kind() != StartError::Kind::in_use) throw;
    }
    return tracker != nullptr;
  }));
  return tracker;
}

// What the sinks of a test share; the tracker may leave a worker behind, so it is shared with them.
struct Sinks {
  std::atomic<bool> open{true};                           // closed: they hang
  std::array<std::vector<std::size_t>, kProducers> seen;  // numbers, by producer; one worker writes here

  void take(const Delivery& event) {
    while (!open) std::this_thread::sleep_for(20us);  // a sink that hangs, not a test that waits
    const std::string_view text = event.text();
    std::size_t number = 0;
    std::from_chars(text.data() + 2, text.data() + text.size(), number);
    seen.at(static_cast<std::size_t>(text[0] - '0')).push_back(number);
  }
};

// Tracks `P:0`, `P:1`, … in bulks of all sizes until told to stop; how many were accepted. All are, or the test fails.
std::size_t produce(Tracker& tracker, std::size_t producer, const std::atomic<bool>& stop) {
  std::mt19937 random(static_cast<unsigned>(producer));
  const std::string padding(500, '.');
  std::size_t next = 0;
  while (!stop) {
    const std::size_t bulk = 1 + random() % 20;
    std::vector<std::string> texts;
    std::vector<Event> events;
    for (std::size_t i = 0; i < bulk; ++i) {
      texts.push_back(std::to_string(producer) + ":" + std::to_string(next + i) + padding.substr(random() % 500));
    }
    for (const std::string& text : texts) events.push_back(Event(text));
    const Admit answer = tracker.wait_track(events, Clock::now() + 20s);
    CHECK(answer == Admit::accepted);
    if (answer != Admit::accepted) break;
    next += bulk;
  }
  return next;
}

struct Crossings {
  std::size_t to_disk = 0, to_memory = 0;
};

// The sink hangs until more is accepted and not finished than memory may hold: the rest is on disk alone. It comes back
// until nothing is left at all: the next event comes by memory. The producers never pause.
Crossings cross(const Tracker& tracker, Sinks& sinks, std::size_t rounds) {
  Crossings crossed;
  for (std::size_t round = 0; round < rounds; ++round) {
    sinks.open = false;
    if (!eventually([&] { return tracker.books().kept > kWindow; })) break;
    ++crossed.to_disk;
    sinks.open = true;
    if (!eventually([&] { return tracker.books().kept == 0; })) break;
    ++crossed.to_memory;
  }
  sinks.open = true;
  return crossed;
}

// A sink that hangs until it is opened, and then takes all but the events that are to be held.
struct Withholding {
  std::atomic<bool> open{false}, takes_all{false};
  std::atomic<std::size_t> entered{0}, delivered{0};
};
class WithholdingSink final : public Sink {
 public:
  explicit WithholdingSink(std::shared_ptr<Withholding> shared) : shared_(std::move(shared)) {}
  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token /*stop*/) override {
    ++shared_->entered;
    while (!shared_->open) std::this_thread::sleep_for(100us);  // a sink that hangs, not a test that waits
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].text().starts_with("held") && !shared_->takes_all) continue;
      verdicts[i] = Verdict::delivered;
      ++shared_->delivered;
    }
  }

 private:
  std::shared_ptr<Withholding> shared_;
};

std::size_t out_of_place(const std::vector<std::size_t>& numbers) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) n += numbers[i] == i ? 0 : 1;
  return n;
}

struct OnDisk {
  std::size_t segments = 0, bytes = 0;
};
OnDisk journal_in(const std::filesystem::path& state_dir) {
  OnDisk found;
  for (const auto& entry : std::filesystem::directory_iterator(state_dir / "journal")) {
    std::error_code gone;  // it may go while we look
    const auto size = entry.file_size(gone);
    if (gone) continue;
    found.bytes += size;
    found.segments += entry.path().extension() == ".settled" ? 0 : 1;
  }
  return found;
}

}  // namespace

TEST_SUITE("overflow") {
  TEST_CASE("overflow: the seam is crossed a thousand times while events come: each once, in its producer's order") {
    constexpr std::size_t kRounds = 500;  // each crosses it twice
    for (const Ack ack : {Ack::written, Ack::queued}) {
      CAPTURE(static_cast<int>(ack));
      const test::TempDir dir;
      const auto sinks = std::make_shared<Sinks>();  // owners: we, and the handler
      Options options = on_disk(dir.path() / "state", ack);
      options.workers = 1;
      Tracker tracker(options, [sinks](const Delivery& event) { sinks->take(event); });
      std::atomic<bool> stop{false};
      std::array<std::size_t, kProducers> accepted{};
      Crossings crossed;
      {
        std::vector<std::jthread> producers;
        for (std::size_t p = 0; p < kProducers; ++p) {
          producers.emplace_back([&, p] { accepted[p] = produce(tracker, p, stop); });
        }
        crossed = cross(tracker, *sinks, kRounds);
        stop = true;
      }
      CHECK(crossed.to_disk == kRounds);
      CHECK(crossed.to_memory == kRounds);
      CHECK(eventually([&] { return tracker.books().kept == 0; }));
      const Report report = tracker.shutdown(10s);
      CHECK(report.reason == Reason::drained);
      CHECK(report.books.accepted == accepted[0] + accepted[1]);
      CHECK(report.books.delivered == report.books.accepted);
      CHECK(report.books.balanced());
      for (std::size_t p = 0; p < kProducers; ++p) {
        CHECK(sinks->seen[p].size() == accepted[p]);
        CHECK(out_of_place(sinks->seen[p]) == 0);
      }
      CHECK(journal_in(*options.state_dir).segments <= 1);
    }
  }

  TEST_CASE("overflow: an event that its sink never takes holds a segment at most, and the other worker goes on") {
    constexpr std::size_t kEvents = 20'000;
    constexpr std::size_t kSize = 2000;  // 40 MB, five times what the journal may hold
    const test::TempDir dir;
    const auto others = std::make_shared<std::atomic<std::size_t>>(0);  // owners: we, and the handler
    const auto takes_it = std::make_shared<std::atomic<bool>>(false);
    const auto taken = std::make_shared<std::atomic<std::size_t>>(0);
    const auto handler = [others, takes_it, taken](const Delivery& event) {
      if (event.text() != "poison") {
        ++*others;
      } else if (*takes_it) {
        ++*taken;
      } else {
        throw std::runtime_error("not this one");
      }
    };
    Options options = on_disk(dir.path() / "state", Ack::written);
    options.workers = 2;
    options.retry_min = options.retry_max = 1ms;
    options.retry_limit = 0;
    constexpr std::size_t kSegment = std::size_t{1} << 20U;
    {
      Tracker tracker(options, handler);
      const std::string padding(kSize, '.');
      const std::vector<Event> bulk(100, Event(padding));
      std::size_t sent = 0;
      std::size_t most = 0;
      for (; sent < kEvents; sent += bulk.size()) {
        if (sent == kEvents / 4) REQUIRE(tracker.track(Event("poison")) == Admit::accepted);
        REQUIRE(tracker.wait_track(bulk, Clock::now() + 30s) == Admit::accepted);
        most = std::max(most, journal_in(*options.state_dir).bytes);
      }
      CHECK(most <= options.journal_bytes);
      CHECK(eventually([&] { return *others == kEvents; }));
      // Its own segment and the one that is written to now.
      CHECK(eventually([&] { return journal_in(*options.state_dir).segments <= 2; }));
      CHECK(journal_in(*options.state_dir).bytes < 2 * kSegment + kSegment / 4);
      CHECK(tracker.books().kept == 1);
      const Report report = tracker.shutdown(200ms);
      CHECK(report.books.kept == 1);
      CHECK(report.books.lost == 0);
      CHECK(report.books.balanced());
    }
    *takes_it = true;
    const auto tracker = start_again(options, handler);
    CHECK(tracker->books().replayed == 1);
    CHECK(eventually([&] { return tracker->books().kept == 0; }));
    CHECK(*taken == 1);
    CHECK(*others == kEvents);
    CHECK(tracker->shutdown(10s).reason == Reason::drained);
  }

  TEST_CASE("overflow: full of finished events, since each segment has one that is not: it takes again") {
    const test::TempDir dir;
    const auto sink = std::make_shared<Withholding>();  // owners: we, and the sinks
    Options options = on_disk(dir.path() / "state", Ack::written);
    options.workers = 1;
    options.queue_events = options.batch_events = 65536;  // all of it in one hand
    options.queue_bytes = std::size_t{16} << 20U;
    options.journal_bytes = std::size_t{1} << 20U;  // eight segments, of some hundred events each
    options.retry_min = options.retry_max = 1ms;
    std::size_t sent = 0;
    std::size_t held = 0;
    {
      Tracker tracker(options, [sink](const SinkContext&) { return std::make_unique<WithholdingSink>(sink); });
      const std::string padding(1000, '.');
      const auto track = [&] {
        const std::string text = (sent % 50 == 49 ? "held" : "") + padding;
        const Admit answer = tracker.track(Event(text));
        if (answer != Admit::accepted) return answer;
        held += sent++ % 50 == 49 ? 1 : 0;
        return answer;
      };
      REQUIRE(track() == Admit::accepted);
      REQUIRE(eventually([&] { return sink->entered > 0; }));  // it hangs with one that it will take
      while (track() == Admit::accepted) REQUIRE(sent < 10'000);
      CHECK(journal_in(*options.state_dir).segments >= 5);
      sink->open = true;
      REQUIRE(eventually([&] { return tracker.books().kept == held; }));
      CHECK(eventually([&] { return track() == Admit::accepted; }));
      CHECK(eventually([&] { return journal_in(*options.state_dir).segments <= 3; }));  // copies, and the one in use
      const Report report = tracker.shutdown(200ms);
      CHECK(report.books.lost == 0);
      CHECK(report.books.balanced());
    }
    sink->takes_all = true;
    const auto tracker =
        start_again(options, [sink](const SinkContext&) { return std::make_unique<WithholdingSink>(sink); });
    CHECK(eventually([&] { return tracker->books().kept == 0; }));
    CHECK(tracker->shutdown(10s).reason == Reason::drained);
    CHECK(sink->delivered == sent);
  }
}
