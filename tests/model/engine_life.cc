// A tracker, the gate at which its workers wait, and those who send. The engine's own times are shortened, so that in
// the milliseconds of a life it syncs, settles, removes and recovers; each call to the disk takes its time, by chance,
// so that the threads meet where they would not by themselves.
#include "model/engine_life.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>

#include "journal/journal.h"
#include "journal/pace.h"
#include "model/dice.h"
#include "model/journal_life.h"
#include "model/tracker_on_disk.h"
#include "sluice/tracker.h"

namespace model {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using sluice::Admit;

constexpr sluice::journal::Pace kPace{.settle_every = 1ms,
                                      .sync_every = 3ms,
                                      .look_every = 2ms,
                                      .least_backoff = 1ms,
                                      .most_backoff = 8ms,
                                      .unreadable = 2ms};
constexpr std::chrono::milliseconds kPatience = 20s;       // with what must come, on a machine that is busy
constexpr std::chrono::milliseconds kShortStop = 150ms;    // for a stop that will run into its deadline
constexpr std::chrono::milliseconds kLongerStop = 400ms;   // for one that will not, unless its sink fails
constexpr std::chrono::milliseconds kMomentForMore = 5ms;  // for what is on its way to a worker

struct IdOrder {
  bool operator()(const sluice::EventId& a, const sluice::EventId& b) const noexcept {
    return a.run == b.run ? a.sequence < b.sequence : a.run.bytes < b.run.bytes;
  }
};

// Where the workers wait, each with its batch, until the run has delivered some of it. Any thread. Owners: the life,
// and each worker's sink.
class Gate {
 public:
  Gate(std::size_t workers, bool in_order) : workers_(workers), in_order_(in_order) {}

  // A worker's.
  void pass(std::span<const sluice::Delivery> batch, std::span<sluice::Verdict> verdicts, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    std::vector<Handed> mine;
    for (const sluice::Delivery& event : batch) {
      mine.push_back({event.id, std::string(event.text())});
      if (event.attempt == 1) arrive(mine.back());
    }
    ++waiting_;
    changed_.notify_all();
    const auto any_finished = [&] {
      return std::ranges::any_of(mine, [&](const Handed& event) { return finished_.contains(event.id); });
    };
    for (const Handed& event : mine) in_sinks_.insert(event.id);
    // What is finished while it waits for another attempt needs a worker: the one that waits here lets go of its batch.
    const auto finished_elsewhere = [&] {
      return std::ranges::any_of(finished_, [&](const sluice::EventId& id) { return !in_sinks_.contains(id); });
    };
    changed_.wait(lock, stop, [&] { return open_ || deliver_ || any_finished() || finished_elsewhere(); });
    for (const Handed& event : mine) in_sinks_.erase(event.id);
    --waiting_;
    if (deliver_ && !open_) {
      std::vector<Handed> late;
      for (const Handed& event : mine) {
        if (!finished_.contains(event.id)) late.push_back(event);
      }
      const Deliver deliver = deliver_;
      ++delivering_;
      lock.unlock();
      const bool delivered = late.empty() || deliver(late);
      lock.lock();
      --delivering_;
      changed_.notify_all();
      for (const Handed& event : late) {
        if (delivered) finish(event.id);
      }
    }
    for (std::size_t i = 0; i < mine.size(); ++i) {
      if (open_ || finished_.erase(mine[i].id) > 0) verdicts[i] = sluice::Verdict::delivered;
    }
  }

  // The run's. More is there, or may come: see `more`.
  template <typename More>
  std::vector<Handed> take(std::size_t most, const More& more) {
    std::unique_lock lock(mutex_);
    const auto until = Clock::now() + kMomentForMore;
    while (arrived_.empty() && Clock::now() < until && !(waiting_ == workers_ && finished_.empty()) && more(in_hand_)) {
      changed_.wait_for(lock, 500us);
    }
    std::vector<Handed> taken;
    while (taken.size() < most && !arrived_.empty()) {
      taken.push_back(std::move(arrived_.front()));
      arrived_.pop_front();
    }
    return taken;
  }
  void finish(std::span<const sluice::EventId> ids) {
    const std::scoped_lock lock(mutex_);
    for (const sluice::EventId& id : ids) finish(id);
    changed_.notify_all();
  }
  // Events that workers have, and that are not finished.
  [[nodiscard]] std::size_t in_hand() const {
    const std::scoped_lock lock(mutex_);
    return in_hand_;
  }
  [[nodiscard]] bool all_taken() const {
    const std::scoped_lock lock(mutex_);
    return arrived_.empty();
  }
  // Of this life.
  [[nodiscard]] std::uint64_t finished() const {
    const std::scoped_lock lock(mutex_);
    return all_finished_;
  }

  // The stop has begun: the workers deliver by themselves. It is over: none of them does, also of those left behind.
  void begin_delivering(const Deliver& deliver) {
    const std::scoped_lock lock(mutex_);
    deliver_ = deliver;
    changed_.notify_all();
  }
  void end_delivering() {
    std::unique_lock lock(mutex_);
    deliver_ = nullptr;
    changed_.wait(lock, [&] { return delivering_ == 0; });
  }
  // The world has ended: whatever a worker still does, nobody hears of it.
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

  // Once.
  [[nodiscard]] std::optional<Overtaken> overtaken() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(overtaken_, std::nullopt);
  }

 private:
  void arrive(const Handed& event) {
    ++in_hand_;
    arrived_.push_back(event);
    // One worker gets a run's events in the order of their ids, but for those that a stop has written down.
    std::uint64_t& last = last_[event.id.run.bytes];
    if (workers_ == 1 && in_order_ && event.id.sequence < last && !overtaken_) overtaken_ = {event.id, last};
    last = std::max(last, event.id.sequence);
  }
  void finish(const sluice::EventId& id) {
    if (!finished_.insert(id).second) return;
    ++all_finished_;
    --in_hand_;
  }

  const std::size_t workers_;
  const bool in_order_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // All guarded by mutex_.
  std::deque<Handed> arrived_;                   // and not taken yet
  std::set<sluice::EventId, IdOrder> finished_;  // and their worker does not know yet
  std::set<sluice::EventId, IdOrder> in_sinks_;  // of the batches that workers wait with
  std::size_t waiting_ = 0, delivering_ = 0, in_hand_ = 0;
  std::uint64_t all_finished_ = 0;
  std::map<std::array<std::uint8_t, 16>, std::uint64_t> last_;
  std::optional<Overtaken> overtaken_;
  Deliver deliver_;
  bool open_ = false;
};

class GateSink final : public sluice::Sink {
 public:
  using Sync = std::function<bool(std::span<const sluice::EventId>)>;
  GateSink(std::shared_ptr<Gate> gate, Sync sync) : gate_(std::move(gate)), sync_(std::move(sync)) {}
  void deliver(std::span<const sluice::Delivery> batch, std::span<sluice::Verdict> verdicts,
               std::stop_token stop) override {
    gate_->pass(batch, verdicts, stop);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (verdicts[i].kind() == sluice::Verdict::delivered) delivered_.push_back(batch[i].id);
    }
  }
  void sync() override {
    const auto delivered = std::exchange(delivered_, {});
    if (!sync_(delivered)) throw std::runtime_error("the sink's disk has failed");
  }

 private:
  std::shared_ptr<Gate> gate_;
  const Sync sync_;
  std::vector<sluice::EventId> delivered_;  // since the last sync()
};

// The answers that a few requests get, on whatever thread. Owners: who waits for them, and each receipt.
class Answers {
 public:
  explicit Answers(std::size_t requests) : answers_(requests, {Answer::none, {}}), told_(requests, 0) {}

  void tell(std::size_t request, const Answer& answer) {
    const std::scoped_lock lock(mutex_);
    answers_[request] = answer;
    twice_ = twice_ || ++told_[request] > 1;
    ++count_;
    changed_.notify_all();
  }
  [[nodiscard]] std::vector<Answer> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return count_ >= answers_.size(); });
    return answers_;
  }
  [[nodiscard]] bool twice() const {
    const std::scoped_lock lock(mutex_);
    return twice_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  std::vector<Answer> answers_;
  std::vector<std::size_t> told_;
  std::size_t count_ = 0;
  bool twice_ = false;
};

class EngineLife final : public Life {
 public:
  EngineLife(MemoryDisk& disk, const Setup& setup, std::uint64_t seed)
      : dice_(seed), disk_(disk.same()), setup_(setup) {
    take_time(disk, dice_.next());
    const sluice::Options options = some_options();
    gate_ = std::make_shared<Gate>(options.workers, setup.ack != sluice::Ack::queued);
    tracker_ = sluice::TrackerOnDisk::make(
        options,
        [gate = gate_, sync = setup.sync_sink](const sluice::SinkContext&) {
          return std::make_unique<GateSink>(gate, sync);
        },
        disk_, kPace);
  }
  ~EngineLife() override {
    gate_->open();
    tracker_.reset();
  }

  std::vector<Answer> commit(std::span<const Asked> requests) override {
    const auto answers = std::make_shared<Answers>(requests.size());
    send(requests, answers, dice_.between(1, 3));
    std::vector<Answer> told = answers->wait();
    answers_.push_back(answers);
    return told;
  }

  // Nobody can ask for it; it comes by itself.
  bool sync() override { return false; }
  bool sync_sink() override { return false; }
  void write_settles() override {}
  bool sync_settles() override { return false; }

  std::vector<Handed> take(std::size_t most) override {
    return gate_->take(most, [this](std::size_t in_hand) { return tracker_->books().kept > in_hand; });
  }
  void settle(std::span<const sluice::EventId> ids) override { gate_->finish(ids); }
  bool all_taken() override {
    const std::uint64_t kept = tracker_->books().kept;  // before: it may only become less
    return gate_->all_taken() && kept == gate_->in_hand();
  }

  // The committer does it, as soon as it looks again.
  void maintain() override { std::this_thread::sleep_for(kPace.look_every); }

  std::optional<std::uint64_t> replayed() const override { return tracker_->books().replayed; }
  std::uint64_t lost() const override { return tracker_->books().lost; }
  bool lost_pages() const override {
    const std::uint64_t failed = failed_segment_syncs(*disk_);
    return failed > mended_->load() || (failed > 0 && thrown_away_->load() > 0);
  }

  std::uint64_t thrown_away() const override { return thrown_away_->load(); }

  std::string complaint() override {
    for (const auto& answers : answers_) {
      if (answers->twice()) return "a request was answered twice";
    }
    std::erase_if(answers_, [](const auto& answers) { return answers.use_count() == 1; });
    if (stop_.accounted) {
      if (const std::string left = not_given_back(); !left.empty()) return "not given back: " + left;
    }
    return {};
  }
  std::string overuse() override { return overuse_of(*disk_, setup_.journal_bytes); }
  std::optional<Overtaken> overtaken() override {
    const std::optional<Overtaken> found = gate_->overtaken();
    return held_back_->load() ? std::nullopt : found;
  }

  Stop close(std::span<const Asked> requests, std::vector<Answer>& answers, const Deliver& deliver) override {
    if (disk_->ended()) gate_->open();
    // What was finished so far is booked, so that the deadline cannot come in between.
    for (const auto until = Clock::now() + kPatience; tracker_->books().delivered < gate_->finished();) {
      if (disk_->ended() || Clock::now() > until) break;
      std::this_thread::sleep_for(100us);
    }
    const std::uint64_t lost_before = lost();
    const auto told = std::make_shared<Answers>(requests.size());
    const bool nothing_left = requests.empty() && tracker_->books().kept == 0;
    if (deliver) gate_->begin_delivering(deliver);
    std::jthread sending;
    if (!requests.empty())
      sending = std::jthread([&, senders = dice_.between(1, 3)] { send(requests, told, senders); });
    std::this_thread::sleep_for(std::chrono::microseconds(requests.empty() ? 0 : dice_.below(500)));
    const sluice::Report report = tracker_->shutdown(nothing_left ? kPatience : deliver ? kLongerStop : kShortStop);
    gate_->end_delivering();
    if (sending.joinable()) sending.join();
    answers = told->wait();
    stop_ = {.drained = report.reason == sluice::Reason::drained,
             .for_good = !report.disk_failed && !report.disk_stuck,
             .synced = report.held_up_by.empty(),
             .accounted = !report.disk_stuck,
             .lost = report.books.lost - lost_before,
             .kept = report.books.kept};
    return stop_;
  }

 private:
  // Once it has stopped.
  [[nodiscard]] std::string not_given_back() const {
    const sluice::Status status = tracker_->status();
    std::string left;
    if (stop_.drained && status.queue_events > 0) left += " events at the door: " + std::to_string(status.queue_events);
    // A disk that failed holds what was written and not synced to the very end.
    const bool all_synced = stop_.drained && stop_.for_good;
    if (all_synced && status.queue_bytes > 0) left += " bytes at the door: " + std::to_string(status.queue_bytes);
    const std::uint64_t reserved = sluice::TrackerOnDisk::journal(*tracker_).reserved();
    if (reserved > 0) left += " bytes of the journal's room: " + std::to_string(reserved);
    return left;
  }

  // A disk on which some calls take a while: hardly any, or many.
  static void take_time(MemoryDisk& disk, std::uint64_t seed) {
    const auto calls = std::make_shared<std::atomic<std::uint64_t>>(seed);
    const std::size_t slow_in = std::size_t{2} << 2 * Dice(seed).below(4);
    disk.on_call([calls, slow_in](Call, std::string_view) {
      Dice dice(calls->fetch_add(1));
      if (dice.one_in(slow_in)) std::this_thread::sleep_for(std::chrono::microseconds(dice.below(300)));
    });
  }

  sluice::Options some_options() {
    constexpr std::array<std::size_t, 4> kWindows{4, 16, 64, 1024};
    constexpr std::array<std::size_t, 3> kBatches{1, 3, 16};
    sluice::Options options;
    options.workers = dice_.between(1, 3);
    options.queue_events = kWindows.at(dice_.below(kWindows.size()));
    // Under `queued` the journal keeps so much room free.
    options.queue_bytes = setup_.journal_bytes / 4 << (setup_.ack == sluice::Ack::queued ? 0U : dice_.below(3));
    options.ack = setup_.ack;
    options.overflow = dice_.one_in(4) ? sluice::Overflow::reject : sluice::Overflow::disk;
    options.journal_bytes = setup_.journal_bytes;
    options.batch_events = kBatches.at(dice_.below(kBatches.size()));
    options.retry_min = options.retry_max = 500us;
    options.log = [log = setup_.log, mended = mended_, gone = thrown_away_, held = held_back_, disk = disk_](
                      sluice::LogLevel, std::string_view line) {
      gone->fetch_add(thrown_away_by(line));
      if (holds_back(line)) held->store(true);
      if (line == "the journal works again") mended->store(failed_segment_syncs(*disk));
      if (log) log(line);
    };
    if (setup_.log) {
      setup_.log("workers=" + std::to_string(options.workers) + " window=" + std::to_string(options.queue_events) +
                 " bytes=" + std::to_string(options.queue_bytes) +
                 (options.overflow == sluice::Overflow::disk ? " overflow=disk" : " overflow=reject"));
    }
    return options;
  }

  void send(std::span<const Asked> requests, const std::shared_ptr<Answers>& answers, std::size_t senders) {
    std::atomic<std::size_t> next{0};
    const auto send_some = [&] {
      for (std::size_t i = next++; i < requests.size(); i = next++) send_one(requests[i], i, answers);
    };
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < std::min(senders, requests.size()); ++i) others.emplace_back(send_some);
    send_some();
  }

  void send_one(const Asked& asked, std::size_t number, const std::shared_ptr<Answers>& answers) {
    std::vector<sluice::Event> events;
    for (const std::string& payload : asked) events.push_back({std::as_bytes(std::span(payload)), "text/plain"});
    const sluice::Submission submission = tracker_->track(events, [answers, number](const sluice::Outcome& outcome) {
      const bool accepted = outcome.answer == Admit::accepted;
      answers->tell(number, {accepted ? Answer::acknowledged : Answer::unknown, outcome.first});
    });
    if (!submission.pending()) answers->tell(number, {Answer::refused, {}});
  }

  Dice dice_;
  const std::shared_ptr<MemoryDisk> disk_;
  const Setup setup_;
  // So many failed syncs have done no harm. Owners: we, and the hook for the log.
  const std::shared_ptr<std::atomic<std::uint64_t>> mended_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  const std::shared_ptr<std::atomic<bool>> held_back_ = std::make_shared<std::atomic<bool>>(false);
  const std::shared_ptr<std::atomic<std::uint64_t>> thrown_away_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::shared_ptr<Gate> gate_;
  std::vector<std::shared_ptr<Answers>> answers_;  // that receipts may still tell
  Stop stop_;
  std::unique_ptr<sluice::Tracker> tracker_;  // goes first
};

}  // namespace

Starter engine_starter() {
  return [](MemoryDisk& disk, const Setup& setup, std::uint64_t life, std::uint64_t seed) {
    return std::make_unique<EngineLife>(disk, setup, seed + life * 0x9E3779B97F4A7C15U);
  };
}

Menu engine_menu() {
  return {.destruction = true,
          .queued = true,
          .threads = true,
          .least_segment = 131072,
          .tries = static_cast<std::size_t>(kPatience / kMomentForMore)};
}

}  // namespace model
