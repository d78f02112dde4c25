// See the header: what the options mean for the journal and its threads.
#include "tracker/disked.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "sluice/host.h"

namespace sluice {

namespace {

// What is in memory, as records: small events are larger on disk.
std::uint64_t spill_bytes(const Options& options) {
  if (options.ack != Ack::queued) return 0;
  return options.queue_bytes + 64 * options.queue_events;
}

// Small segments that crashes leave hold a quarter of what may be open at most: the next start opens them all, and must
// find descriptors for what it is there for.
std::size_t most_left() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  return static_cast<std::size_t>(std::min<rlim_t>(files.rlim_cur / 4 / 2, journal::Journal::kMostLeft));
}

}  // namespace

Disked::Disked(const Options& options, const RunId& run, std::shared_ptr<Disk> on, const journal::Pace& pace,
               EventQueue& queue, Admission& door, BlockMemory& memory, backlog::Unrecorded& unrecorded,
               std::function<void(std::uint64_t events)> taken_over, backlog::Feeder::Hooks feeder_hooks,
               backlog::Committer::Hooks committer_hooks)
    : disk(std::move(on)),
      journal(*disk, {.run = run,
                      .limit_bytes = options.journal_bytes,
                      .spill_bytes = spill_bytes(options),
                      .log = feeder_hooks.log,
                      .most_left = most_left(),
                      .pace = pace,
                      .taken_over = std::move(taken_over)}),
      feeder(journal, queue, door, memory, pace, std::move(feeder_hooks)),
      committer(
          journal, feeder, queue, unrecorded,
          {.run = run, .sync_each = options.ack == Ack::synced, .most_unsynced = options.queue_bytes / 8, .pace = pace},
          std::move(committer_hooks)),
      checkpoint_time(pace.checkpoint) {
  if (options.ack == Ack::written) withheld.emplace(options.workers);
}

std::size_t descriptors_of_journal(std::uint64_t journal_bytes) noexcept {
  constexpr std::size_t kOthers = 8;  // the lock, dead letters, a directory being synced, a draft
  return 2 * journal::Journal::most_segments(journal_bytes) + kOthers;
}

}  // namespace sluice
