// The committer: the one thread that changes the journal. Producers submit requests; it takes all that wait, makes them
// one commit, waits for the disk once, and completes each. Between commits it writes settles (every 50 ms), has them
// synced (every second, or when much is not synced), removes finished segments, and tries to recover a journal that has
// failed. Settles are synced by a second thread, the settler: on a slow disk a commit would wait for each of their
// files. Locks: mutex_, which is held over no call to another object but a condition variable's. It refuses nothing: a
// request is completed as committed or as failed, after the end too. But if a dead disk holds the thread, it is never
// completed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "backlog/feeder.h"
#include "backlog/unrecorded.h"
#include "backlog/withheld.h"
#include "journal/journal.h"

namespace sluice::backlog {

class Committer {
 public:
  struct Config {
    RunId run;
    bool sync_each = true;          // Ack::synced
    std::size_t most_unsynced = 0;  // bytes of memory that wait for a sync; more are synced before their second is over
    journal::Pace pace;
  };
  struct Hooks {
    std::function<void(std::uint64_t)> accepted;         // called before a worker can see the events
    std::function<void(std::chrono::nanoseconds)> took;  // the disk's time for a commit, failed ones included
    std::function<void()> turned;                        // now and then: there may be new room, or a failure
    LogHook log;
  };
  // Not committed, without ids: nobody knows whether the request is on disk; it is whole or not at all. Called once,
  // without a lock, on this thread; after its end on the submitting thread.
  using Completion = std::function<void(bool committed, const EventId& first, const EventId& last)>;
  struct Request {
    Block::Owner block;          // framed
    std::uint64_t reserved = 0;  // of the journal's room
    Completion complete;
  };

  Committer(journal::Journal& journal, Feeder& feeder, EventQueue& queue, Unrecorded& unrecorded, Config config,
            Hooks hooks);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;
  void run(std::shared_ptr<const void> keeps_alive);  // see Feeder::run()

  void submit(Request request);
  // These events are finished for good: under Ack::written their sink was synced. Any thread; never waits for the disk.
  void settle(std::span<const Settle> settles);
  // Writes down all events without a record, as soon as the thread comes to it. Called again, it writes what the disk
  // has refused; and so it does at the end, when workers may have released what they held.
  void want_spill();
  // Intake is closed and no request is on its way: checkpoint, then end. False: not in time; the thread is left behind,
  // and owns what it touches.
  [[nodiscard]] bool stop(std::chrono::steady_clock::time_point until);
  [[nodiscard]] const journal::Pace& pace() const noexcept { return config_.pace; }
  // Everything that was acknowledged as synced is on disk, and the journal is closed. If not, delivered events come
  // again.
  [[nodiscard]] bool checkpointed() const noexcept { return checkpointed_.load(); }
  // After the end: events that count as on disk, and that no start will find: their files were unlinked and could not
  // be written anew.
  [[nodiscard]] std::uint64_t nameless() const noexcept { return nameless_.load(); }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::time_point kNever = Clock::time_point::max();

  void work();
  void commit(std::vector<Request>& requests);
  void commit_some(std::span<Request> requests);
  [[nodiscard]] std::error_code write(std::span<Block* const> blocks, std::uint64_t reserved,
                                      journal::Journal::Place& place);
  void give_up(Request& request);
  void flush_settles();
  void begin_settle_sync(Clock::time_point now);
  void end_settle_sync();
  void sync_settles(const std::stop_token& stop);
  void log_settles(std::error_code error, Clock::time_point now);
  void sync_now();
  void look_for_names();
  void plan_recovery();
  bool try_recover();  // true: the journal works again
  void spill_if_wanted();
  void spill();
  void checkpoint();
  void end();
  void let_go_unsynced();
  [[nodiscard]] Clock::time_point next_due() const;

  journal::Journal& journal_;
  Feeder& feeder_;
  EventQueue& queue_;
  Unrecorded& unrecorded_;
  const Config config_;
  const Hooks hooks_;

  std::mutex mutex_;
  std::condition_variable wanted_;   // wakes the thread
  std::condition_variable changed_;  // wakes callers that wait for it
  std::condition_variable_any settler_wanted_;
  std::vector<Request> waiting_;                                                   // guarded by mutex_
  std::vector<Settle> settles_;                                                    // guarded by mutex_
  bool spill_wanted_ = false, stopping_ = false, ended_ = false, asleep_ = false;  // guarded by mutex_
  enum class SettleSyncing : std::uint8_t { idle, wanted, done } settle_syncing_ = SettleSyncing::idle;  // likewise
  std::vector<journal::Journal::SettleSync> settle_sync_;  // the settler's while `wanted`, else the thread's
  std::atomic<bool> checkpointed_{false};
  std::atomic<std::uint64_t> nameless_{0};

  // The thread's.
  std::vector<Block*> unsynced_;  // held
  std::size_t unsynced_bytes_ = 0;
  Clock::time_point sync_due_ = kNever, settle_due_ = kNever, settle_sync_due_ = kNever, recover_due_ = kNever;
  Clock::time_point names_due_ = Clock::time_point::min();
  std::chrono::milliseconds backoff_{0};
  Clock::time_point settles_failed_at_ = kNever;  // since when without a success
  bool settles_logged_ = false;
  bool spill_refused_ = false;  // by the disk, the last time
  std::jthread settler_;        // ended by the thread, which waits for it
  std::jthread thread_;
};

}  // namespace sluice::backlog
