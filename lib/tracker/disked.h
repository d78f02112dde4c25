// What stands on disk behind the queue, if there is a disk: the journal, and the two threads that work on it. Made
// without threads; the engine sets them going, ends them, and joins them or lets them go.
// It refuses what the journal refuses (StartError).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "admission/admission.h"
#include "backlog/committer.h"
#include "backlog/feeder.h"
#include "backlog/unrecorded.h"
#include "backlog/withheld.h"
#include "journal/disk.h"
#include "journal/journal.h"
#include "journal/pace.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "sluice/event.h"
#include "sluice/options.h"

namespace sluice {

struct Disked {
  // Recovers what an earlier run left; what that is, `taken_over` hears (journal.h). Queue, door, memory and unrecorded
  // outlive it.
  Disked(const Options& options, const RunId& run, std::shared_ptr<Disk> on, const journal::Pace& pace,
         EventQueue& queue, Admission& door, BlockMemory& memory, backlog::Unrecorded& unrecorded,
         std::function<void(std::uint64_t events)> taken_over, backlog::Feeder::Hooks feeder_hooks,
         backlog::Committer::Hooks committer_hooks);

  const std::shared_ptr<Disk> disk;  // owners: we, and the test that has made it
  journal::Journal journal;
  backlog::Feeder feeder;
  backlog::Committer committer;
  std::optional<backlog::Withheld> withheld;        // Ack::written
  const std::chrono::milliseconds checkpoint_time;  // as the pace has it
};

}  // namespace sluice
