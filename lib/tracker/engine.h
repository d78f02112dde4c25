// The engine behind the façade: all that a worker touches, and so what stays, whole, with a worker that a stop had to
// leave behind in its sink. Here is what there is, and in which order it dies. What is done with it has a file each:
//
//   engine.cc        it is made, and its threads begin
//   taking.cc        the way in: the ticket, the block, then the queue or the committer
//   draining.cc      the stop, as one list
//   accounting.cc    the books, and what else there is to see
//   dead_letters.cc  what a sink has refused for good
//
// Threads: any may call anything here at any time, but for the constructor and start(). It refuses options that are out
// of range and a state directory that it cannot have (StartError), and events as the tracker says, by an answer.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <variant>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "backlog/unrecorded.h"
#include "journal/pace.h"
#include "journal/state_dir.h"
#include "queue/block.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "sinks/dead_letter_file.h"
#include "sluice/gate.h"
#include "sluice/host.h"
#include "sluice/tracker.h"
#include "tracker/disked.h"
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

  // ---- the way in: as in the tracker
  [[nodiscard]] Admit track(std::span<const Event> events);
  [[nodiscard]] Submission track(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Admit wait_track(std::span<const Event> events, Deadline deadline);

  // ---- the stop: as in the tracker; the caller of shutdown() holds the engine until it returns
  Report shutdown(Deadline deadline);
  void hasten(Deadline deadline);
  [[nodiscard]] Phase phase() const noexcept { return stop_.phase(); }
  void announce_stop() { stop_.advance(Signal::stop); }
  [[nodiscard]] std::chrono::nanoseconds least_drain() const noexcept;
  // The tracker goes: shutdown(now). What is left behind calls no hook any more.
  void retire();

  // ---- what there is to see: as in the tracker
  [[nodiscard]] Books books() const noexcept;
  [[nodiscard]] Books books_at_exit() const noexcept;
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
  void log(LogLevel level, std::string_view line) {
    // A worker that was let go may come back to a world without its hook.
    if (const auto pass = hook_.try_enter()) options_.log(level, line);
  }
  void begin_journal(std::shared_ptr<Disk> disk, const journal::Pace& pace);
  [[nodiscard]] Flow flow();
  [[nodiscard]] bool settle(std::size_t worker, Block& block, std::uint64_t first_sequence, std::uint32_t count);
  std::uint64_t sink_synced(std::size_t worker, bool durable);

  // What the door says to who asks.
  using Answer = std::variant<Ticket, Admit>;
  [[nodiscard]] bool fits(std::span<const Event> events) const noexcept;
  [[nodiscard]] Admit take(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Admit take_in_memory(std::span<const Event> events, Answer&& answer, const Receipt& receipt);
  [[nodiscard]] Admit take_by_disk(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Answer admit_by_disk(std::size_t events, std::size_t bytes);
  [[nodiscard]] std::optional<Admit> take_straight(Block::Owner& block, const Receipt& receipt);
  [[nodiscard]] Admit commit(Block::Owner block, const Receipt& receipt);
  [[nodiscard]] Admit take_and_wait(std::span<const Event> events, Deadline deadline);
  [[nodiscard]] bool may_take_by_disk(std::span<const Event> events);
  [[nodiscard]] Block::Layout disk_layout() const noexcept;
  Admit counted(Admit answer, std::size_t events) noexcept;

  [[nodiscard]] Report drain();
  void close_door();
  [[nodiscard]] bool wait_drained();
  void close_queue(bool drained, Report& report);
  void checkpoint(bool drained, Report& report);
  void count(bool drained, Report& report);
  [[nodiscard]] Deadline grace(bool drained) const;
  void spill();
  void wait_synced();
  void name_who_holds_it_up();
  [[nodiscard]] Reason reason_for(bool drained, const Report& report) const;

  [[nodiscard]] Books finished_books() const noexcept;
  [[nodiscard]] static Books less(Books books, std::uint64_t lost) noexcept;
  [[nodiscard]] std::uint64_t on_no_disk(const Books& books) const noexcept;
  [[nodiscard]] Refused refusals() const noexcept;

  [[nodiscard]] std::error_code bury(std::span<const DeadEvent> dead);
  void charge_dead_letters();

  // Dies in reverse: the pool, the journal, what is left in the queue, its memory, the door last. Constant once
  // started, or synchronises itself.
  const Options options_;
  const RunId run_;
  std::optional<StateDir> state_dir_;
  std::optional<DeadLetterFile> dead_letters_;
  Admission door_;
  BlockMemory memory_;
  backlog::Unrecorded unrecorded_;  // the blocks in the queue know it
  EventQueue queue_;
  ShutdownCoordinator stop_;
  Ledger ledger_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Admit::failed) + 1> refused_{};  // events, by answer
  std::atomic<std::uint64_t> unknown_{0};      // of requests under which the disk failed
  Tally commit_time_{kTimeBuckets};            // the committer's
  Gate hook_;                                  // whoever is inside calls options_.log; closed once the tracker goes
  std::atomic<std::uint64_t> written_off_{0};  // what the account of a stop has called lost
  std::atomic<bool> abandoned_{false};         // the committer was let go: it answers nobody any more
  std::optional<Disked> disked_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace sluice
