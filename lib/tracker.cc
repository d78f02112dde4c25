// The façade: the one file that knows all rooms of the library. Here the flow is put together, and the stop is one
// list.
#include "sluice/tracker.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>
#include <variant>

#include "journal/state_dir.h"
#include "lifecycle/admission.h"
#include "lifecycle/shutdown.h"
#include "queue/event_queue.h"
#include "sinks/dead_letter_file.h"
#include "workers/ledger.h"
#include "workers/pool.h"

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
// So many waiting events wake the napping worker early: enough to be worth a wake-up, and never the whole window.
constexpr std::size_t kLot = 4096;

std::size_t usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
}

Options checked(Options options) {
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
  if (options.ack != Ack::queued) {
    throw StartError(StartError::Kind::unusable,
                     "ack: written and synced need the journal, which this version does not have");
  }
  if (options.overflow != Overflow::reject) {
    throw StartError(StartError::Kind::unusable, "overflow: disk needs the journal, which this version does not have");
  }
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

}  // namespace

// All that a worker touches. Dies in reverse: the pool, what is left in the queue, the door last.
struct Tracker::Engine {
  explicit Engine(Options from)
      : options(checked(std::move(from))),
        run(RunId::draw()),
        door(options.queue_events, options.queue_bytes),
        queue(run, std::max<std::size_t>(1, std::min(kLot, options.queue_events / 4)), options.batch_events) {
    if (options.state_dir) {
      state_dir.emplace(*options.state_dir);
      dead_letters.emplace(*options.state_dir);
    }
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
    return dead_letters->append(letters);
  }

  [[nodiscard]] Deadline at_least(Deadline deadline) const noexcept {
    return std::max(deadline, std::chrono::steady_clock::now() + least_drain());
  }
  [[nodiscard]] nanoseconds least_drain() const noexcept {
    return kLeastDrain + kDrainPerMiB * static_cast<std::int64_t>(door.bytes_out() >> 20U);
  }

  [[nodiscard]] Books books() const noexcept {
    const Ledger::Finished finished = ledger.finished();  // before `accepted`, or more might be finished than accepted
    return Ledger::books(finished, queue.accepted());
  }

  void refuse(Admit why, std::size_t events) noexcept {
    if (why == Admit::full) refused_full.fetch_add(events);
    if (why == Admit::too_large) refused_too_large.fetch_add(events);
    if (why == Admit::closed) refused_closed.fetch_add(events);
  }

  [[nodiscard]] Admit enter(std::span<const Event> events, std::variant<Ticket, Admit> answer, Outcome& outcome);
  void name_who_holds_it_up();
  [[nodiscard]] Report drain();

  const Options options;
  const RunId run;
  std::optional<StateDir> state_dir;
  std::optional<DeadLetterFile> dead_letters;
  Admission door;
  EventQueue queue;
  ShutdownCoordinator stop;
  Ledger ledger;
  std::atomic<std::uint64_t> refused_full{0}, refused_too_large{0}, refused_closed{0};
  std::atomic<bool> muted{false};
  std::unique_ptr<Pool> pool;
};

// The way in, for all kinds of track: the ticket, the block, the queue.
Admit Tracker::Engine::enter(std::span<const Event> events, std::variant<Ticket, Admit> answer, Outcome& outcome) {
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) {
    refuse(*refusal, events.size());
    return *refusal;
  }
  Block::Owner block = Block::make(events, std::move(std::get<Ticket>(answer)));
  switch (queue.push(block, outcome.first)) {
    case EventQueue::Push::done:
      break;
    case EventQueue::Push::closed:  // the deadline passed between the door and the queue
      block.reset();
      door.give_back_events(events.size());
      refuse(Admit::closed, events.size());
      return Admit::closed;
    case EventQueue::Push::no_memory:
      block.reset();
      door.give_back_events(events.size());
      refuse(Admit::full, events.size());
      return Admit::full;
  }
  outcome.answer = Admit::accepted;
  outcome.last = {outcome.first.run, outcome.first.sequence + events.size() - 1};
  return Admit::accepted;
}

Tracker::Tracker(Options options, SinkFactory sinks) : engine_(std::make_shared<Engine>(std::move(options))) {
  if (!sinks) throw StartError(StartError::Kind::usage, "sinks: the factory must not be empty");
  Engine& engine = *engine_;
  engine.pool =
      std::make_unique<Pool>(Flow{.door = engine.door,
                                  .queue = engine.queue,
                                  .stop = engine.stop,
                                  .ledger = engine.ledger,
                                  .options = engine.options,
                                  .log = [&engine](LogLevel level, std::string_view line) { engine.log(level, line); },
                                  .bury = [&engine](std::span<const DeadEvent> dead) { return engine.bury(dead); }},
                             sinks, engine_);
  static_cast<void>(engine.stop.on(Happening::ready));
}

Tracker::Tracker(Options options, Handler handler) : Tracker(std::move(options), sinks_from(std::move(handler))) {}

Tracker::~Tracker() {
  const bool was_stopped = engine_->stop.phase() == Phase::stopped;
  const Report report = shutdown(std::chrono::steady_clock::now());
  if (!was_stopped && report.timed_out()) engine_->log(LogLevel::warn, to_string(report));
  engine_->muted.store(true);
}

Admit Tracker::track(const Event& event) { return track(std::span(&event, 1)); }

Admit Tracker::track(std::span<const Event> events) { return track(events, Receipt()); }

Admit Tracker::track(std::span<const Event> events, const Receipt& receipt) {
  Outcome outcome;
  if (!events.empty()) {
    const std::size_t most = engine_->options.max_event_bytes;
    const bool fits = std::ranges::all_of(events, [most](const Event& event) { return event.payload.size() <= most; });
    std::variant<Ticket, Admit> answer = Admit::too_large;
    if (fits) answer = engine_->door.try_admit(events.size(), Block::bytes_for(events));
    const Admit admit = engine_->enter(events, std::move(answer), outcome);
    if (admit != Admit::accepted) return admit;
  } else {
    outcome.answer = Admit::accepted;
  }
  if (receipt) receipt(outcome);
  return Admit::accepted;
}

Admit Tracker::wait_track(std::span<const Event> events, Deadline deadline) {
  if (events.empty()) return Admit::accepted;
  const std::size_t most = engine_->options.max_event_bytes;
  const bool fits = std::ranges::all_of(events, [most](const Event& event) { return event.payload.size() <= most; });
  std::variant<Ticket, Admit> answer = Admit::too_large;
  if (fits) answer = engine_->door.wait_admit(events.size(), Block::bytes_for(events), deadline);
  Outcome outcome;
  return engine_->enter(events, std::move(answer), outcome);
}

// The stop, as it is read aloud.
Report Tracker::Engine::drain() {
  // 1 Close the door: from here nobody gets a ticket, and no worker lingers for a fuller batch.
  static_cast<void>(stop.on(Happening::term));
  door.close();
  queue.hurry();
  static_cast<void>(stop.on(Happening::door_closed));

  // 2 Wait until no ticket is out, or the deadline. A while before it, say who holds it up.
  const Deadline end = stop.deadline();
  const Deadline name_at = end - (end - std::chrono::steady_clock::now()) / 10;
  bool drained = door.wait_empty(name_at);
  if (!drained) {
    name_who_holds_it_up();
    drained = door.wait_empty(stop.deadline());
  }

  // 3 Close the queue: the workers go, and `accepted` is final.
  queue.close();
  static_cast<void>(stop.on(drained ? Happening::drained : Happening::deadline));

  // 4 Past the deadline, take what is in sinks away from the workers, ask them to stop and wait no longer.
  if (!drained) pool->expire();
  const Deadline join_until = std::chrono::steady_clock::now() + kGrace;
  Report report;
  report.held_up_by = pool->join(drained ? std::max(stop.deadline(), join_until) : join_until);

  // 5 The account. No disk stands behind this queue: what is neither delivered nor dead is lost.
  const std::uint64_t left = books().kept;
  ledger.add_lost(left);
  if (left > 0) log(LogLevel::error, fmt::format("events are lost, the deadline has cut them off events={}", left));
  report.books = books();
  report.reason = drained && report.held_up_by.empty() ? Reason::drained
                  : stop.hastened()                    ? Reason::signal
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
}

DeadLettersMoved Tracker::requeue_dead_letters(std::size_t at_most) {
  if (!engine_->dead_letters) return {.moved = 0, .left = 0, .error = "there is no state directory"};
  return engine_->dead_letters->requeue(at_most, [this](std::span<const Event> events) { return track(events); });
}

DeadLettersMoved Tracker::drop_dead_letters(std::size_t at_most) {
  if (!engine_->dead_letters) return {.moved = 0, .left = 0, .error = "there is no state directory"};
  return engine_->dead_letters->drop(at_most);
}

std::chrono::nanoseconds Tracker::least_drain() const noexcept { return engine_->least_drain(); }

Books Tracker::books() const noexcept { return engine_->books(); }

Books Tracker::books_at_exit() const noexcept {
  Books books = engine_->books();
  books.lost += std::exchange(books.kept, 0);
  return books;
}

Status Tracker::status() const {
  const Engine& engine = *engine_;
  Status status;
  status.phase = engine.stop.phase();
  status.books = engine.books();
  status.queue_events = engine.door.events_out();
  status.queue_bytes = engine.door.bytes_out();
  status.refused_full = engine.refused_full.load();
  status.refused_too_large = engine.refused_too_large.load();
  status.refused_closed = engine.refused_closed.load();
  status.workers = engine.pool->status();
  for (const WorkerStatus& worker : status.workers) {
    if (worker.state == WorkerState::in_sink) status.in_flight += worker.events;
  }
  return status;
}

const RunId& Tracker::run() const noexcept { return engine_->run; }

}  // namespace sluice
