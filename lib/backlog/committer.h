// The committer: the one thread that writes the journal. Whoever has a request hands it over; it takes all that wait,
// makes them one commit, waits for the disk once, and answers each by its receipt. Between commits it writes settles
// (every 50 ms), syncs (every second, or when much is not synced), removes what is finished, and, while the journal has
// failed, tries to get it going again by itself. Settles are synced by a second thread, the settler: on a slow disk a
// commit would wait for each of their files.
// It refuses nothing that was handed over: a request is answered `accepted` or `failed`, behind the end too, unless a
// dead disk holds this thread; then it is never answered.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
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
#include "journal/pace.h"
#include "queue/block.h"
#include "queue/event_queue.h"
#include "sluice/event.h"
#include "sluice/options.h"

namespace sluice::backlog {

class Committer {
 public:
  struct Config {
    RunId run;
    bool sync_each = true;          // Ack::synced
    std::size_t most_unsynced = 0;  // bytes of memory that may wait for a sync; more, and it does not wait its second
    journal::Pace pace;
  };
  struct Hooks {
    std::function<void(std::uint64_t)> accepted;         // before a worker can see them
    std::function<void(std::chrono::nanoseconds)> took;  // what the disk needed for a commit, also for one that failed
    std::function<void()> turned;  // now and then: there may be room that was not there before, or a failure
    LogHook log;
  };
  // `failed`, without ids: taken whole or not at all, nobody knows. Called once, with no lock held, on this thread;
  // behind its end on that of who hands over.
  using Told = std::function<void(bool committed, const EventId& first, const EventId& last)>;
  struct Request {
    Block::Owner block;          // framed
    std::uint64_t reserved = 0;  // of the journal's room
    Told told;
  };

  Committer(journal::Journal& journal, Feeder& feeder, EventQueue& queue, Unrecorded& unrecorded, Config config,
            Hooks hooks);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;
  void run(std::shared_ptr<const void> keeps_alive);  // as the feeder's

  void submit(Request request);
  // These events are finished, for good: under `written` their sink was synced. Any thread; never waits for the disk.
  void settle(std::span<const Settle> settles);

  // What has no record is written down as soon as the thread comes to it. Asked again, it writes what the disk has
  // refused meanwhile; and once more at its end, by when workers may have let go what was in their hands.
  void want_spill();

  // The door is closed and nothing is on its way any more: checkpoint, then end. False: not in time; the thread is let
  // go, and owns what it touches.
  [[nodiscard]] bool stop(std::chrono::steady_clock::time_point until);
  [[nodiscard]] const journal::Pace& pace() const noexcept { return config_.pace; }
  // Whether everything that was said to be on disk is. Without it what was delivered comes once more.
  [[nodiscard]] bool checkpointed() const noexcept { return checkpointed_.load(); }
  // Once it has ended: events that are on disk by their count, and that no next start will find, since somebody has
  // removed their files and they could not be written anew.
  [[nodiscard]] std::uint64_t nameless() const noexcept { return nameless_.load(); }

 private:
  using Clock = std::chrono::steady_clock;

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
  void tell_of_settles(std::error_code error, Clock::time_point now);
  void sync_now();
  void look_for_names();
  void plan_recovery();
  bool try_recover();  // true: it has not failed any more
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
  std::condition_variable wanted_;   // of the thread
  std::condition_variable changed_;  // for who waits for it
  std::vector<Request> waiting_;     // guarded by mutex_, as all down to `ended_`
  std::vector<Settle> settles_;
  bool spill_wanted_ = false;
  bool stopping_ = false, ended_ = false;
  bool asleep_ = false;
  // From the thread to the settler, and back; touched by the one that has it.
  std::vector<journal::Journal::SettleSync> settle_sync_;
  enum class SettleSyncing : std::uint8_t { idle, wanted, done } settle_syncing_ = SettleSyncing::idle;
  std::condition_variable_any settler_wanted_;
  std::atomic<bool> checkpointed_{false};
  std::atomic<std::uint64_t> nameless_{0};

  // The thread's.
  std::vector<Block*> unsynced_;  // held
  std::size_t unsynced_bytes_ = 0;
  Clock::time_point sync_due_ = Clock::time_point::max();
  Clock::time_point settle_due_ = Clock::time_point::max();
  Clock::time_point settle_sync_due_ = Clock::time_point::max();
  Clock::time_point recover_due_ = Clock::time_point::max();
  Clock::time_point names_due_ = Clock::time_point::min();
  std::chrono::milliseconds backoff_{0};
  Clock::time_point settles_failed_at_ = Clock::time_point::max();  // since when without a success
  bool settles_told_ = false;
  bool spill_refused_ = false;  // by the disk, the last time
  std::jthread settler_;        // ended by the thread, which waits for it
  std::jthread thread_;
};

}  // namespace sluice::backlog
