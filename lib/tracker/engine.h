// The engine behind the façade: everything that a worker touches, so everything that stays alive with a worker that a
// stop had to leave behind in its sink. It creates the parts, connects them by hooks, and destroys them in order:
//
//   intake        the way in: ticket, block, then queue or committer
//   drain         the stop, as one list
//   account       the counts
//   dead_letters  events that a sink has refused for good
//   disked        the journal and its threads
//
// Threads: any thread may call anything here at any time, except for the constructor and start(). It refuses options
// out of range and a state directory that it cannot have (StartError).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "admission/admission.h"
#include "backlog/unrecorded.h"
#include "journal/pace.h"
#include "journal/state_dir.h"
#include "queue/block.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "sluice/host.h"
#include "sluice/tracker.h"
#include "tracker/account.h"
#include "tracker/dead_letters.h"
#include "tracker/disked.h"
#include "tracker/drain.h"
#include "tracker/intake.h"
#include "workers/guarded_log.h"
#include "workers/ledger.h"
#include "workers/pool.h"
#include "workers/tally.h"

namespace sluice {

struct SLUICE_INTERNAL Tracker::Engine {
  // No thread runs yet. A test brings a disk, which takes the place of the state directory's. Throws StartError.
  explicit Engine(Options options, std::shared_ptr<Disk> disk = nullptr, const journal::Pace& pace = {});

  // The threads begin. `keeps_alive` owns the engine; each thread holds it too. Throws StartError, what a factory
  // threw, or what the system says when it has no more threads; then all is stopped.
  void start(const SinkFactory& sinks, const std::shared_ptr<const void>& keeps_alive);

  [[nodiscard]] Intake& intake() noexcept { return intake_; }
  [[nodiscard]] const Account& account() const noexcept { return account_; }

  // The caller of shutdown() holds the engine until it returns.
  [[nodiscard]] Drain& drain() noexcept { return drain_; }
  [[nodiscard]] const Drain& drain() const noexcept { return drain_; }
  // The tracker is destroyed: shutdown(now). Threads that are left behind call no hook any more.
  void retire();

  // ---- numbers: as in the tracker
  [[nodiscard]] bool disk_failed() const noexcept;
  [[nodiscard]] Status status() const;
  [[nodiscard]] Metrics metrics() const;
  [[nodiscard]] const RunId& run() const noexcept { return run_; }
  // Only with a disk.
  [[nodiscard]] const journal::Journal& journal() const noexcept { return disked_->journal; }

  // ---- dead letters: as in the tracker
  [[nodiscard]] DeadLettersMoved requeue_dead_letters(std::size_t at_most);
  [[nodiscard]] DeadLettersMoved drop_dead_letters(std::size_t at_most);

 private:
  void log(LogLevel level, std::string_view line) { log_(level, line); }
  void begin_journal(std::shared_ptr<Disk> disk, const journal::Pace& pace);
  [[nodiscard]] Flow flow();
  [[nodiscard]] bool settle(std::size_t worker, Block& block, std::uint64_t first_sequence, std::uint32_t count);
  std::uint64_t sink_synced(std::size_t worker, bool durable);

  // Destroyed in reverse: the pool, the journal, events left in the queue, their memory, admission last. Each is
  // constant once started, or synchronises itself.
  const Options options_;
  const RunId run_;
  std::optional<StateDir> state_dir_;
  Admission door_;
  BlockMemory memory_;
  backlog::Unrecorded unrecorded_;  // the blocks in the queue know it
  EventQueue queue_;
  Ledger ledger_;
  Tally commit_time_{kTimeBuckets};  // the committer's
  GuardedLog log_;
  std::optional<Disked> disked_;
  Intake intake_;
  Account account_;
  DeadLetters dead_letters_;
  Drain drain_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace sluice
