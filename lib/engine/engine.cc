// The façade: the one file that knows all rooms of the library. Here the flow is put together, and the stop is one
// list.
#include "sluice/tracker.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "engine/tracker_on_disk.h"
#include "journal/committer.h"
#include "journal/feeder.h"
#include "journal/journal.h"
#include "journal/pace.h"
#include "journal/posix_disk.h"
#include "journal/state_dir.h"
#include "journal/unrecorded.h"
#include "lifecycle/admission.h"
#include "lifecycle/shutdown.h"
#include "queue/event_queue.h"
#include "sinks/dead_letter_file.h"
#include "workers/ledger.h"
#include "workers/pool.h"
#include "workers/tally.h"

namespace sluice {

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// What shutdown(now) still gets, so that what is in hand can be accounted for. The second part is for writing down what
// is in memory, at the 0.5 GB/s that a disk can be trusted with.
constexpr nanoseconds kLeastDrain = milliseconds{100};
constexpr nanoseconds kDrainPerMiB = milliseconds{2};
// Past the deadline a sink that heeds its stop token may come back within this, and be joined instead of let go.
constexpr nanoseconds kGrace = milliseconds{10};
// Of memory that finished blocks leave: it is given back all at once, also at the end of a stop, and must not take
// long.
constexpr std::size_t kMostIdle = std::size_t{64} << 20U;
// And behind the deadline a disk has this long for the checkpoint; what it does not settle by then comes once more.
constexpr nanoseconds kCheckpoint = milliseconds{30};
// So many waiting events wake the napping worker early: enough to be worth a wake-up, and never the whole window.
constexpr std::size_t kLot = 4096;

std::size_t usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
}

Options checked(Options options, bool other_disk) {
  const bool has_disk = options.state_dir || other_disk;
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw StartError(StartError::Kind::usage, what);
  };
  if (options.workers == 0) options.workers = usable_cpus();
  require(options.workers <= 1024, "workers: 0 to 1024");
  require(options.queue_events >= 1 && options.queue_events <= std::size_t{1} << 30U, "queue_events: 1 to 2^30");
  require(options.queue_bytes >= 1, "queue_bytes: at least 1");
  require(options.max_event_bytes >= 1, "max_event_bytes: at least 1");
  require(options.batch_events >= 1 && options.batch_events <= 65536, "batch_events: 1 to 65536");
  require(options.batch_linger >= nanoseconds::zero(), "batch_linger: not negative");
  require(options.retry_min >= nanoseconds::zero(), "retry_min: not negative");
  require(options.retry_max >= options.retry_min, "retry_max: not less than retry_min");
  require(has_disk || options.ack == Ack::queued, "ack: written and synced need a state_dir");
  require(has_disk || options.overflow == Overflow::reject, "overflow: disk needs a state_dir");
  require(options.journal_bytes >= std::uint64_t{1} << 20U, "journal_bytes: at least 1 MiB");
  if (!options.log) {
    options.log = [](LogLevel level, std::string_view line) {
      if (level == LogLevel::error || level == LogLevel::warn) {
        fmt::print(stderr, "sluice: {}\n", line);
      }
    };
  }
  return options;
}

// A plain handler as a sink: each event for itself.
class HandlerSink final : public Sink {
 public:
  explicit HandlerSink(std::shared_ptr<const Handler> handler) : handler_(std::move(handler)) {}

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    for (std::size_t i = 0; i < batch.size() && !stop.stop_requested(); ++i) {
      try {
        (*handler_)(batch[i]);
        verdicts[i] = Verdict::delivered;
      } catch (const std::exception& error) {
        verdicts[i] = {Verdict::try_again, error.what()};
      } catch (...) {
        verdicts[i] = {Verdict::try_again, "the handler threw what is no std::exception"};
      }
    }
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "handler"; }

 private:
  std::shared_ptr<const Handler> handler_;  // owners: all workers' sinks
};

SinkFactory sinks_from(Handler handler) {
  if (!handler) throw StartError(StartError::Kind::usage, "handler: must not be empty");
  return
      [shared = std::make_shared<const Handler>(std::move(handler))] { return std::make_unique<HandlerSink>(shared); };
}

// Who waits in a track() for what becomes of his request. Shared with the receipt: a dead disk may never answer, and
// then the one who waits goes first.
class Waiter {
 public:
  void tell(const Outcome& outcome) {
    const std::lock_guard lock(mutex_);
    outcome_ = outcome;
    told_.notify_all();
  }
  // `failed` if nobody will tell any more.
  [[nodiscard]] Admit wait(const std::atomic<bool>& abandoned) {
    std::unique_lock lock(mutex_);
    while (!outcome_) {
      if (abandoned.load()) return Admit::failed;
      told_.wait_for(lock, milliseconds{100});
    }
    return outcome_->answer;
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::optional<Outcome> outcome_;  // guarded by mutex_
};

// What stands on disk behind the queue, if there is a disk.
struct Disked {
  Disked(const Options& options, const RunId& run, std::shared_ptr<Disk> on, const journal::Pace& pace,
         EventQueue& queue, Admission& door, BlockMemory& memory, journal::Unrecorded& unrecorded,
         journal::Feeder::Hooks feeder_hooks, journal::Committer::Hooks committer_hooks)
      : disk(std::move(on)),
        journal(*disk, {.run = run,
                        .limit_bytes = options.journal_bytes,
                        .spill_bytes = options.ack == Ack::queued ? spill_bytes(options) : 0,
                        .log = feeder_hooks.log}),
        feeder(journal, queue, door, memory, pace, std::move(feeder_hooks)),
        committer(journal, feeder, queue, unrecorded,
                  {.run = run,
                   .sync_each = options.ack == Ack::synced,
                   .most_unsynced = options.queue_bytes / 8,
                   .pace = pace},
                  std::move(committer_hooks)) {}

  // What is in memory, as records: small events are larger on disk.
  static std::uint64_t spill_bytes(const Options& options) { return options.queue_bytes + 64 * options.queue_events; }

  std::shared_ptr<Disk> disk;  // owners: we, and the test that has made it
  journal::Journal journal;
  journal::Feeder feeder;
  journal::Committer committer;
};

}  // namespace

std::size_t descriptors_of_journal(std::uint64_t journal_bytes) noexcept {
  constexpr std::size_t kOthers = 8;  // the lock, dead letters, a directory being synced, a draft
  return 2 * journal::Journal::most_segments(journal_bytes) + kOthers;
}

// All that a worker touches. Dies in reverse: the pool, the journal, what is left in the queue, its memory, the door
// last.
struct SLUICE_INTERNAL Tracker::Engine {
  explicit Engine(Options from, std::shared_ptr<Disk> disk = nullptr, const journal::Pace& pace = {})
      : options(checked(std::move(from), disk != nullptr)),
        run(RunId::draw()),
        door(options.queue_events, options.queue_bytes,
             options.overflow == Overflow::disk ? options.queue_bytes / 4 : 0),
        memory(std::min(options.queue_bytes / 8, kMostIdle)),
        queue(run, std::max<std::size_t>(1, std::min(kLot, options.queue_events / 4)), options.batch_events) {
    if (options.state_dir) {
      state_dir.emplace(*options.state_dir);
      dead_letters.emplace(*options.state_dir);
      disk = std::make_shared<PosixDisk>(*state_dir);
    }
    if (!disk) return;
    const LogHook hook = [this](LogLevel level, std::string_view line) { log(level, line); };
    try {
      disked.emplace(options, run, std::move(disk), pace, queue, door, memory, unrecorded,
                     journal::Feeder::Hooks{.lost = [this](std::uint64_t n) { ledger.add_lost(n); }, .log = hook},
                     journal::Committer::Hooks{.accepted = [this](std::uint64_t n) { ledger.add_accepted(n); },
                                               .took = [this](nanoseconds time) { commit_time.add(time); },
                                               .turned = [this] { door.nudge(); },
                                               .log = hook});
    } catch (const StartError& error) {
      if (error.kind() != StartError::Kind::io || !options.state_dir) throw;
      // The journal knows its files by name; whoever starts us wants to know where they are.
      throw StartError(error.kind(),
                       fmt::format("{}: {}", journal_directory(*options.state_dir).string(), error.what()));
    }
    ledger.add_replayed(disked->journal.replayed());
    charge_dead_letters();
  }

  void log(LogLevel level, std::string_view line) const {
    // A worker that was let go may come back to a world without its hook.
    if (!muted.load()) options.log(level, line);
  }

  [[nodiscard]] std::error_code bury(std::span<const DeadEvent> dead) {
    if (!dead_letters) return {};  // no place to keep them: the log line is all there is
    std::vector<DeadLetter> letters;
    letters.reserve(dead.size());
    for (const DeadEvent& event : dead) letters.push_back({*event.event, event.reason});
    const std::error_code error = dead_letters->append(letters);
    charge_dead_letters();
    return error;
  }

  // They may pass the limit of the disk, and then count against new events.
  void charge_dead_letters() {
    if (!dead_letters) return;
    std::error_code none;
    const auto bytes = std::filesystem::file_size(*options.state_dir / "dead-letter.ndjson", none);
    if (!none) disked->journal.charge_others(bytes);
  }

  // A worker has finished these: on disk they are settled, in memory they need no record any more.
  void settle(Block& block, std::uint64_t first_sequence, std::uint32_t count) {
    std::uint64_t home = block.home();
    if (home == 0) {
      home = unrecorded.finish(block, static_cast<std::uint32_t>(first_sequence - block.first_sequence()), count);
    }
    if (home != 0) disked->committer.settle(home, first_sequence, count);
  }

  [[nodiscard]] Deadline at_least(Deadline deadline) const noexcept {
    return std::max(deadline, std::chrono::steady_clock::now() + least_drain());
  }
  [[nodiscard]] nanoseconds least_drain() const noexcept {
    if (options.ack != Ack::queued) return kLeastDrain;  // what is in memory has its record
    return kLeastDrain + kDrainPerMiB * static_cast<std::int64_t>(door.bytes_out() >> 20U);
  }

  // Never more finished than accepted: an event is counted as accepted before a worker can see it, and whoever finishes
  // it counts it after that; all counters only grow; so with what is finished read first, `accepted` covers it. Nor is
  // `kept` more than was ever kept: if nothing was finished while `accepted` was read, both are of that one instant. A
  // few looks find such an instant even under load; if not, what came between counts as kept, and the sum still holds.
  [[nodiscard]] Books books() const noexcept {
    constexpr int kLooks = 32;
    Ledger::Finished finished = ledger.finished();
    for (int look = 1;; ++look) {
      const std::uint64_t accepted = queue.accepted() + ledger.accepted();
      const Ledger::Finished after = ledger.finished();
      if (after == finished || look == kLooks) return Ledger::books(finished, accepted, ledger.replayed());
      finished = after;
    }
  }
  // Of what is kept, that which no disk holds.
  [[nodiscard]] std::uint64_t on_no_disk(const Books& books) const noexcept {
    return disked ? std::min(books.kept, unrecorded.events()) : books.kept;
  }

  // What a producer is told, once it is told.
  Admit counted(Admit answer, std::size_t events) noexcept {
    if (answer != Admit::accepted) refused[static_cast<std::size_t>(answer)].fetch_add(events);
    return answer;
  }
  [[nodiscard]] Refused refusals() const noexcept {
    const auto by = [this](Admit answer) { return refused[static_cast<std::size_t>(answer)].load(); };
    return {.full = by(Admit::full),
            .too_large = by(Admit::too_large),
            .closed = by(Admit::closed),
            .failed = by(Admit::failed),
            .unknown = unknown.load()};
  }

  [[nodiscard]] Admit take(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Admit take_and_wait(std::span<const Event> events, Deadline deadline);
  [[nodiscard]] bool fits(std::span<const Event> events) const noexcept;
  [[nodiscard]] Admit take_in_memory(std::span<const Event> events, Ticket ticket, const Receipt& receipt);
  [[nodiscard]] Admit take_by_disk(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] bool may_take_by_disk(std::span<const Event> events);
  [[nodiscard]] Block::Layout disk_layout() const noexcept {
    return {.frame = journal::kEventFrame, .own_marks = false, .watched = options.ack == Ack::queued};
  }
  [[nodiscard]] std::variant<Ticket, Admit> admit_by_disk(std::span<const Event> events, std::size_t bytes);
  void name_who_holds_it_up();
  [[nodiscard]] bool wait_drained();
  [[nodiscard]] Report drain();

  const Options options;
  const RunId run;
  std::optional<StateDir> state_dir;
  std::optional<DeadLetterFile> dead_letters;
  Admission door;
  BlockMemory memory;
  journal::Unrecorded unrecorded;  // the blocks in the queue know it
  EventQueue queue;
  ShutdownCoordinator stop;
  Ledger ledger;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Admit::failed) + 1> refused{};  // events, by answer
  std::atomic<std::uint64_t> unknown{0};  // of requests under which the disk failed
  Tally commit_time{kTimeBuckets};        // the committer's
  std::atomic<bool> muted{false};
  std::atomic<bool> abandoned{false};  // the committer was let go: it answers nobody any more
  std::optional<Disked> disked;
  std::unique_ptr<Pool> pool;
};

// The way in, for all kinds of track.
Admit Tracker::Engine::take(std::span<const Event> events, const Receipt& receipt) {
  if (!fits(events)) return Admit::too_large;
  if (disked) return take_by_disk(events, receipt);
  auto answer = door.try_admit(events.size(), Block::bytes_for(events, {}));
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) return *refusal;
  return take_in_memory(events, std::get<Ticket>(std::move(answer)), receipt);
}

bool Tracker::Engine::fits(std::span<const Event> events) const noexcept {
  const std::size_t most = options.max_event_bytes;
  return std::ranges::all_of(events, [most](const Event& event) { return event.payload.size() <= most; });
}

// The ticket, the block, the queue.
Admit Tracker::Engine::take_in_memory(std::span<const Event> events, Ticket ticket, const Receipt& receipt) {
  Block::Owner block = Block::make(memory, events, std::move(ticket), {});
  block->ticket().hand_over_events();
  Outcome outcome;
  const EventQueue::Push pushed = queue.push(block, outcome.first);
  if (pushed != EventQueue::Push::done) {  // the deadline passed between the door and the queue, or there is no memory
    block.reset();
    door.give_back_events(events.size());
    return pushed == EventQueue::Push::closed ? Admit::closed : Admit::full;
  }
  outcome.answer = Admit::accepted;
  outcome.last = {outcome.first.run, outcome.first.sequence + events.size() - 1};
  if (receipt) receipt(outcome);
  return Admit::accepted;
}

// Into the window if there is room and nothing waits on disk; else, where the disk takes what memory does not, past it.
std::variant<Ticket, Admit> Tracker::Engine::admit_by_disk(std::span<const Event> events, std::size_t bytes) {
  if (options.overflow == Overflow::reject) return door.try_admit(events.size(), bytes);
  if (disked->journal.caught_up()) {
    auto answer = door.try_admit(events.size(), bytes);
    const Admit* const refusal = std::get_if<Admit>(&answer);
    if (refusal == nullptr || *refusal == Admit::closed) return answer;
  }
  return door.try_pass(events.size(), bytes);
}

// The ticket, room on disk, the block; then the committer, or under `queued` straight into the queue.
Admit Tracker::Engine::take_by_disk(std::span<const Event> events, const Receipt& receipt) {
  const bool is_queued = options.ack == Ack::queued;
  if (!is_queued && disked->journal.failed()) return Admit::failed;
  const Block::Layout layout = disk_layout();
  const std::size_t bytes = Block::bytes_for(events, layout);
  auto answer = admit_by_disk(events, bytes);
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) return *refusal;
  Block::Owner block = Block::make(memory, events, std::get<Ticket>(std::move(answer)), layout);

  if (is_queued && !block->ticket().passes()) {
    Outcome outcome;
    switch (disked->feeder.try_straight(block, unrecorded, outcome.first)) {
      case journal::Feeder::Straight::done:
        outcome.answer = Admit::accepted;
        outcome.last = {outcome.first.run, outcome.first.sequence + events.size() - 1};
        if (receipt) receipt(outcome);
        return Admit::accepted;
      case journal::Feeder::Straight::closed:
        return Admit::closed;
      case journal::Feeder::Straight::no_memory:
        return Admit::full;
      case journal::Feeder::Straight::behind:
        break;
    }
  } else {
    disked->feeder.expect_commit(1);
  }

  const std::uint64_t cost = journal::Journal::cost(block->body().size(), events.size());
  const auto room = disked->journal.failed() ? journal::Journal::Room::full : disked->journal.try_reserve(cost);
  if (room != journal::Journal::Room::reserved) {
    disked->feeder.gave_up(1);
    if (disked->journal.failed()) return Admit::failed;
    return room == journal::Journal::Room::never ? Admit::too_large : Admit::full;
  }
  journal::Committer::Told told = [this, receipt, count = events.size()](bool committed, const EventId& first,
                                                                         const EventId& last) {
    if (!committed) unknown.fetch_add(count);
    if (receipt) receipt({committed ? Admit::accepted : Admit::failed, first, last});
  };
  disked->committer.submit({.block = std::move(block), .reserved = cost, .told = std::move(told)});
  return Admit::accepted;
}

Tracker::Tracker(Options options, SinkFactory sinks) : Tracker(std::make_shared<Engine>(std::move(options)), sinks) {}

Tracker::Tracker(Options options, Handler handler) : Tracker(std::move(options), sinks_from(std::move(handler))) {}

std::unique_ptr<Tracker> TrackerOnDisk::make(Options options, SinkFactory sinks, std::shared_ptr<Disk> disk,
                                             const journal::Pace& pace) {
  auto engine = std::make_shared<Tracker::Engine>(std::move(options), std::move(disk), pace);
  return std::unique_ptr<Tracker>(new Tracker(std::move(engine), sinks));
}

const journal::Journal& TrackerOnDisk::journal(const Tracker& tracker) { return tracker.engine_->disked->journal; }

// The threads begin.
Tracker::Tracker(std::shared_ptr<Engine> made, const SinkFactory& sinks) : engine_(std::move(made)) {
  if (!sinks) throw StartError(StartError::Kind::usage, "sinks: the factory must not be empty");
  Engine& engine = *engine_;
  Flow flow{.door = engine.door,
            .queue = engine.queue,
            .stop = engine.stop,
            .ledger = engine.ledger,
            .options = engine.options,
            .log = [&engine](LogLevel level, std::string_view line) { engine.log(level, line); },
            .settle = {},
            .bury = [&engine](std::span<const DeadEvent> dead) { return engine.bury(dead); }};
  if (engine.disked) {
    flow.settle = [&engine](Block& block, std::uint64_t first, std::uint32_t count) {
      engine.settle(block, first, count);
    };
  }
  engine.pool = std::make_unique<Pool>(std::move(flow), sinks, engine_);
  if (engine.disked) {
    try {
      engine.disked->committer.run(engine_);
      engine.disked->feeder.run(engine_);
    } catch (...) {  // the system has no more threads to give
      static_cast<void>(shutdown(std::chrono::steady_clock::now()));
      throw;
    }
  }
  static_cast<void>(engine.stop.on(Happening::ready));
}

Tracker::~Tracker() {
  const bool was_stopped = engine_->stop.phase() == Phase::stopped;
  const Report report = shutdown(std::chrono::steady_clock::now());
  if (!was_stopped && report.timed_out()) engine_->log(LogLevel::warn, to_string(report));
  engine_->muted.store(true);
}

Admit Tracker::track(const Event& event) { return track(std::span(&event, 1)); }

Admit Tracker::track(std::span<const Event> events) {
  if (events.empty()) return Admit::accepted;
  if (engine_->disked) return engine_->take_and_wait(events, Deadline::min());
  return engine_->counted(engine_->take(events, Receipt()), events.size());
}

Admit Tracker::track(std::span<const Event> events, const Receipt& receipt) {
  if (!events.empty()) return engine_->counted(engine_->take(events, receipt), events.size());
  if (receipt) receipt({Admit::accepted, {}, {}});
  return Admit::accepted;
}

Admit Tracker::wait_track(std::span<const Event> events, Deadline deadline) {
  if (events.empty()) return Admit::accepted;
  Engine& engine = *engine_;
  if (engine.disked) return engine.take_and_wait(events, deadline);
  if (!engine.fits(events)) return engine.counted(Admit::too_large, events.size());
  auto answer = engine.door.wait_admit(events.size(), Block::bytes_for(events, {}), deadline);
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) return engine.counted(*refusal, events.size());
  return engine.counted(engine.take_in_memory(events, std::get<Ticket>(std::move(answer)), Receipt()), events.size());
}

// For room until the deadline, then for what becomes of it. Room is wanted in memory and on disk at once, so nobody who
// gives one of them back can tell whether it is enough: at each change we look, and ask only if it seems so.
Admit Tracker::Engine::take_and_wait(std::span<const Event> events, Deadline deadline) {
  const auto waiter = std::make_shared<Waiter>();  // owners: we, and the receipt
  const auto tell = [waiter](const Outcome& outcome) { waiter->tell(outcome); };
  std::optional<Admission::Watch> watch;
  for (bool in_time = std::chrono::steady_clock::now() < deadline;;) {
    const Admit admit = take(events, tell);
    if (admit == Admit::accepted) {
      watch.reset();
      return waiter->wait(abandoned);
    }
    if (admit != Admit::full || !in_time) return counted(admit, events.size());
    // Others may be quicker each time, or memory be short: then we do not ask more often than this.
    std::this_thread::sleep_until(std::min(deadline, std::chrono::steady_clock::now() + milliseconds{1}));
    if (!watch) watch.emplace(door);
    for (std::uint64_t seen = watch->changes(); in_time && !may_take_by_disk(events); seen = watch->changes()) {
      in_time = watch->wait_change(seen, deadline);
    }
    in_time = in_time && std::chrono::steady_clock::now() < deadline;
  }
}

// Whether take_by_disk() would say anything but `full` at this moment.
bool Tracker::Engine::may_take_by_disk(std::span<const Event> events) {
  const bool is_queued = options.ack == Ack::queued;
  const bool failed = disked->journal.failed();
  if (door.closed() || (failed && !is_queued)) return true;
  const std::size_t bytes = Block::bytes_for(events, disk_layout());
  const bool takes_turn = options.overflow == Overflow::reject || disked->journal.caught_up();
  const bool window = takes_turn && door.has_room(events.size(), bytes);
  if (window && is_queued && !disked->feeder.is_behind()) return true;
  if (!window && (options.overflow == Overflow::reject || !door.has_passage(bytes))) return false;
  if (failed) return true;
  const std::size_t body = Block::body_bytes_for(events, disk_layout());
  return disked->journal.has_room(journal::Journal::cost(body, events.size()));
}

// Until no ticket is out, or the deadline. Half way, what has no record is written down; a while before the end it is
// said who holds it up, and what the disk refused is tried again while the workers still have it.
bool Tracker::Engine::wait_drained() {
  const Deadline begin = std::chrono::steady_clock::now();
  const Deadline end = stop.deadline();
  const auto spill = [this] {
    if (disked && options.ack == Ack::queued) disked->committer.want_spill();
  };
  if (door.wait_empty(begin + (end - begin) / 2)) return true;
  spill();
  if (door.wait_empty(end - (end - begin) / 10)) return true;
  spill();
  name_who_holds_it_up();
  return door.wait_empty(stop.deadline());
}

// The stop, as it is read aloud.
Report Tracker::Engine::drain() {
  // 1 Close the door: from here nobody gets a ticket, the feeder brings no more, and no worker lingers for a fuller
  //   batch.
  static_cast<void>(stop.on(Happening::term));
  door.close();
  if (disked) disked->feeder.stop();
  queue.hurry();
  static_cast<void>(stop.on(Happening::door_closed));

  // 2 Wait until no ticket is out, or the deadline.
  const bool drained = wait_drained();

  // 3 Close the queue: the workers go.
  queue.close();
  static_cast<void>(stop.on(drained ? Happening::drained : Happening::deadline));

  // 4 Past the deadline, take what is in sinks away from the workers, ask them to stop and wait no longer.
  if (!drained) pool->expire();
  const auto grace = [&] {  // what is drained may take its time to go
    const Deadline soon = std::chrono::steady_clock::now() + kGrace;
    return drained ? std::max(stop.deadline(), soon) : soon;
  };
  Report report;
  report.held_up_by = pool->join(grace());

  // 5 Checkpoint the journal: what was delivered is settled, what was not is kept.
  if (disked) {
    const bool fed = disked->feeder.join(grace());
    const bool ended =
        disked->committer.stop(std::max(stop.deadline(), std::chrono::steady_clock::now()) + kCheckpoint);
    report.disk_stuck = !fed || !ended;
    report.disk_failed = disked->journal.failed() || (ended && !disked->committer.checkpointed());
    if (!ended) abandoned.store(true);
  }

  // 6 The account. What no disk holds is lost.
  const std::uint64_t left = on_no_disk(books());
  ledger.add_lost(left);
  if (left > 0) log(LogLevel::error, fmt::format("events are lost, the deadline has cut them off events={}", left));
  report.books = books();
  report.reason = drained && report.held_up_by.empty()
                      ? (report.disk_stuck || report.disk_failed ? Reason::fault : Reason::drained)
                  : stop.hastened() ? Reason::signal
                                    : Reason::deadline;
  report.elapsed = stop.elapsed();
  static_cast<void>(stop.on(Happening::reported));
  return report;
}

void Tracker::Engine::name_who_holds_it_up() {
  for (const WorkerStatus& worker : pool->status()) {
    if (worker.state != WorkerState::in_sink) continue;
    log(LogLevel::warn, fmt::format("the stop is held up worker={} sink={} events={} first={} attempt={} for={:.3f}s",
                                    worker.worker, worker.sink, worker.events, worker.first_sequence, worker.attempt,
                                    std::chrono::duration<double>(worker.in_state).count()));
  }
}

Report Tracker::shutdown(Deadline deadline) {
  // Held for the whole of it: a worker that is let go may be the last owner but for this thread.
  const std::shared_ptr<Engine> engine = engine_;
  const Deadline end = engine->at_least(deadline);
  const bool first = engine->stop.begin(end);
  engine->door.hasten(end);
  if (!first) return engine->stop.wait_report();
  Report report = engine->drain();
  engine->stop.finish(report);
  return report;
}

Report Tracker::shutdown(std::chrono::nanoseconds at_most) {
  return shutdown(std::chrono::steady_clock::now() + at_most);
}

void Tracker::hasten(Deadline deadline) {
  const Deadline end = engine_->at_least(deadline);
  engine_->stop.hasten(end);
  engine_->door.hasten(end);
  if (engine_->disked && engine_->options.ack == Ack::queued && engine_->door.closed())
    engine_->disked->committer.want_spill();
}

DeadLettersMoved Tracker::requeue_dead_letters(std::size_t at_most) {
  if (!engine_->dead_letters) return {.moved = 0, .left = 0, .error = "there is no state directory"};
  const auto take = [this](std::span<const Event> events) { return track(events); };
  DeadLettersMoved moved = engine_->dead_letters->requeue(at_most, take);
  engine_->charge_dead_letters();
  return moved;
}

DeadLettersMoved Tracker::drop_dead_letters(std::size_t at_most) {
  if (!engine_->dead_letters) return {.moved = 0, .left = 0, .error = "there is no state directory"};
  DeadLettersMoved moved = engine_->dead_letters->drop(at_most);
  engine_->charge_dead_letters();
  return moved;
}

std::chrono::nanoseconds Tracker::least_drain() const noexcept { return engine_->least_drain(); }

Books Tracker::books() const noexcept { return engine_->books(); }

Books Tracker::books_at_exit() const noexcept {
  Books books = engine_->books();
  const std::uint64_t lost = engine_->on_no_disk(books);
  books.lost += lost;
  books.kept -= lost;
  return books;
}

bool Tracker::disk_failed() const noexcept { return engine_->disked && engine_->disked->journal.failed(); }

Status Tracker::status() const {
  const Engine& engine = *engine_;
  Status status;
  status.phase = engine.stop.phase();
  status.books = engine.books();
  status.queue_events = engine.door.events_out();
  status.queue_bytes = engine.door.bytes_out();
  const Refused refused = engine.refusals();
  status.refused_full = refused.full;
  status.refused_too_large = refused.too_large;
  status.refused_closed = refused.closed;
  if (engine.disked) {
    status.journal_bytes = engine.disked->journal.bytes();
    status.disk_failed = engine.disked->journal.failed();
    if (status.disk_failed) status.disk_cause = engine.disked->journal.cause();
  }
  status.workers = engine.pool->status();
  for (const WorkerStatus& worker : status.workers) {
    if (worker.state == WorkerState::in_sink) status.in_flight += worker.events;
  }
  return status;
}

Metrics Tracker::metrics() const {
  const Engine& engine = *engine_;
  Metrics metrics;
  metrics.books = engine.books();
  metrics.refused = engine.refusals();
  metrics.queue_events = engine.door.events_out();
  metrics.queue_bytes = engine.door.bytes_out();
  if (engine.disked) metrics.journal_bytes = engine.disked->journal.bytes();
  engine.pool->show(metrics);
  engine.commit_time.show(metrics.commit_seconds);
  return metrics;
}

const RunId& Tracker::run() const noexcept { return engine_->run; }

}  // namespace sluice
