// What stands on disk behind the queue, if there is a disk: the journal, and the two threads that work on it. Made
// without threads; the engine sets them going, ends them, and joins them or lets them go.
// It refuses what the journal refuses (StartError).
#pragma once

#include <memory>

#include "journal/committer.h"
#include "journal/disk.h"
#include "journal/feeder.h"
#include "journal/journal.h"
#include "journal/pace.h"
#include "journal/unrecorded.h"
#include "lifecycle/admission.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "sluice/event.h"
#include "sluice/options.h"

namespace sluice {

struct Disked {
  // Recovers what an earlier run left. Queue, door, memory and unrecorded outlive it.
  Disked(const Options& options, const RunId& run, std::shared_ptr<Disk> on, const journal::Pace& pace,
         EventQueue& queue, Admission& door, BlockMemory& memory, journal::Unrecorded& unrecorded,
         journal::Feeder::Hooks feeder_hooks, journal::Committer::Hooks committer_hooks);

  const std::shared_ptr<Disk> disk;  // owners: we, and the test that has made it
  journal::Journal journal;
  journal::Feeder feeder;
  journal::Committer committer;
};

}  // namespace sluice
