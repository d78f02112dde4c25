// How an engine is made and its threads begin: the rooms are put together here, and told of each other by hooks. All of
// it is done by the thread that makes the tracker; what the hooks call, by theirs.
#include "tracker/engine.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "journal/posix_disk.h"
#include "sluice/error.h"
#include "tracker/checked_options.h"

namespace sluice {

namespace {

// Of memory that finished blocks leave: it is given back all at once, also at the end of a stop, and must not take
// long.
constexpr std::size_t kMostIdle = std::size_t{64} << 20U;
// So many waiting events wake the napping worker early: enough to be worth a wake-up, and never the whole window.
constexpr std::size_t kLot = 4096;

}  // namespace

Tracker::Engine::Engine(Options options, std::shared_ptr<Disk> disk, const journal::Pace& pace)
    : options_(checked(std::move(options), disk != nullptr)),
      run_(RunId::draw()),
      door_(options_.queue_events, options_.queue_bytes,
            disk != nullptr || options_.state_dir ? options_.queue_bytes / 4 : 0),
      memory_(std::min(options_.queue_bytes / 8, kMostIdle)),
      queue_(run_, std::max<std::size_t>(1, std::min(kLot, options_.queue_events / 4)), options_.batch_events,
             options_.workers) {
  if (options_.state_dir) {
    state_dir_.emplace(*options_.state_dir);
    dead_letters_.emplace(*options_.state_dir);
    disk = std::make_shared<PosixDisk>(*state_dir_);
  }
  if (disk) begin_journal(std::move(disk), pace);
}

void Tracker::Engine::begin_journal(std::shared_ptr<Disk> disk, const journal::Pace& pace) {
  const LogHook hook = [this](LogLevel level, std::string_view line) { log(level, line); };
  disked_.emplace(
      options_, run_, std::move(disk), pace, queue_, door_, memory_, unrecorded_,
      [this](std::uint64_t n) { ledger_.add_replayed(n); },
      backlog::Feeder::Hooks{.lost = [this](std::uint64_t n) { ledger_.add_lost(n); }, .log = hook},
      backlog::Committer::Hooks{.accepted = [this](std::uint64_t n) { ledger_.add_accepted(n); },
                                .took = [this](std::chrono::nanoseconds time) { commit_time_.add(time); },
                                .turned = [this] { door_.nudge(); },
                                .log = hook});
  if (disked_->journal.failed()) {
    // The journal knows its files by name; whoever has started us wants to know where they are.
    log(LogLevel::warn, fmt::format("started on a disk that has failed, what can be read is delivered and the disk "
                                    "tried again state_dir={} events={}",
                                    options_.state_dir.value_or("none").string(), disked_->journal.replayed()));
  }
  charge_dead_letters();
}

void Tracker::Engine::start(const SinkFactory& sinks, const std::shared_ptr<const void>& keeps_alive) {
  if (!sinks) throw StartError(StartError::Kind::usage, "sinks: the factory must not be empty");
  pool_ = std::make_unique<Pool>(flow(), sinks, keeps_alive);
  if (disked_) {
    try {
      disked_->committer.run(keeps_alive);
      disked_->feeder.run(keeps_alive);
    } catch (...) {  // the system has no more threads to give
      static_cast<void>(shutdown(std::chrono::steady_clock::now()));
      throw;
    }
  }
  stop_.advance(Signal::ready);
}

// What the workers get to see of it all.
Flow Tracker::Engine::flow() {
  Flow flow{.door = door_,
            .queue = queue_,
            .stop = stop_,
            .ledger = ledger_,
            .options = options_,
            .log = [this](LogLevel level, std::string_view line) { log(level, line); },
            .settle = {},
            .sink_synced = {},
            .sync_every = {},
            .sync_soonest = {},
            .bury = [this](std::span<const DeadEvent> dead) { return bury(dead); }};
  if (disked_) {
    flow.settle = [this](std::size_t worker, Block& block, std::uint64_t first, std::uint32_t count) {
      return settle(worker, block, first, count);
    };
    if (disked_->withheld) {
      flow.sink_synced = [this](std::size_t worker, bool durable) { return sink_synced(worker, durable); };
      flow.sync_every = disked_->committer.pace().sync_every;
      flow.sync_soonest = disked_->committer.pace().settle_every;
    }
  }
  return flow;
}

// A worker has finished these: on disk they are settled, in memory they need no record any more.
bool Tracker::Engine::settle(std::size_t worker, Block& block, std::uint64_t first_sequence, std::uint32_t count) {
  std::uint64_t home = block.home();
  if (home == 0) {
    home = unrecorded_.finish(block, static_cast<std::uint32_t>(first_sequence - block.first_sequence()), count);
  }
  if (home == 0) return false;
  const backlog::Settle one{home, first_sequence, count};
  if (disked_->withheld) return disked_->withheld->add(worker, one);
  disked_->committer.settle({&one, 1});
  return false;
}

// What that worker's sink had not synced before is settled now, or, if that has failed, comes again in the next run.
std::uint64_t Tracker::Engine::sink_synced(std::size_t worker, bool durable) {
  const std::vector<backlog::Settle> settles = disked_->withheld->take(worker);
  if (durable) disked_->committer.settle(settles);
  std::uint64_t events = 0;
  for (const backlog::Settle& one : settles) events += one.count;
  return events;
}

}  // namespace sluice
