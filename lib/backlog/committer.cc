// The committer's loop. Read from work() down.
#include "backlog/committer.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <utility>

#include "backlog/block_records.h"
#include "sluice/event.h"

namespace sluice::backlog {

namespace {

constexpr std::size_t kMostACommit = std::size_t{16} << 20U;  // bytes, unless one request alone is more

}  // namespace

Committer::Committer(journal::Journal& journal, Feeder& feeder, EventQueue& queue, Unrecorded& unrecorded,
                     Config config, Hooks hooks)
    : journal_(journal),
      feeder_(feeder),
      queue_(queue),
      unrecorded_(unrecorded),
      config_(config),
      hooks_(std::move(hooks)) {
  if (journal_.failed()) plan_recovery();  // it may have begun as failed
}

Committer::~Committer() {
  if (thread_.joinable()) thread_.detach();  // it runs this destructor as the last owner, or it never ran
  let_go_unsynced();
}

void Committer::run(std::shared_ptr<const void> keeps_alive) {
  settler_ = std::jthread([this](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "settler");
    sync_settles(stop);
  });
  thread_ = std::jthread([this, alive = std::move(keeps_alive)] {
    ::pthread_setname_np(::pthread_self(), "committer");
    // A batch thread, so that its wake-up does not preempt the thread that submits: it runs when that one waits, or on
    // another CPU, and finds all requests so far. One commit per request costs half the throughput of `written`.
    const sched_param usual{};
    static_cast<void>(::pthread_setschedparam(::pthread_self(), SCHED_BATCH, &usual));
    work();
    settler_.request_stop();
    settler_.join();
    end();
  });
}

void Committer::submit(Request request) {
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) {
      waiting_.push_back(std::move(request));
      if (asleep_) wanted_.notify_one();
      return;
    }
  }
  give_up(request);  // it was still on its way when the deadline passed
}

void Committer::settle(std::span<const Settle> settles) {
  const std::lock_guard lock(mutex_);
  const bool none_before = settles_.empty();
  for (const Settle& one : settles) add_settle(settles_, one);
  if (none_before && asleep_) wanted_.notify_one();
}

void Committer::want_spill() {
  const std::lock_guard lock(mutex_);
  spill_wanted_ = true;
  wanted_.notify_one();
}

bool Committer::stop(Clock::time_point until) {
  if (!thread_.joinable()) return true;
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wanted_.notify_one();
    if (!changed_.wait_until(lock, until, [this] { return ended_; })) {
      thread_.detach();
      return false;
    }
  }
  thread_.join();
  return true;
}

Committer::Clock::time_point Committer::next_due() const {
  return std::min({sync_due_, settle_due_, settle_sync_due_, recover_due_, Clock::now() + config_.pace.look_every});
}

void Committer::work() {
  std::vector<Request> requests;
  names_due_ = Clock::now() + config_.pace.sync_every;  // the start has seen all files
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto something = [&] {
        return !waiting_.empty() || stopping_ || spill_wanted_ || settle_syncing_ == SettleSyncing::done ||
               (!settles_.empty() && settle_due_ == kNever);
      };
      asleep_ = true;
      wanted_.wait_until(lock, next_due(), something);
      asleep_ = false;
      if (waiting_.empty() && stopping_) break;
      requests.swap(waiting_);
      if (!settles_.empty() && settle_due_ == kNever) settle_due_ = Clock::now() + config_.pace.settle_every;
    }
    commit(requests);
    requests.clear();
    spill_if_wanted();
    const auto now = Clock::now();
    if (journal_.failed() && now >= recover_due_) static_cast<void>(try_recover());
    end_settle_sync();
    if (now >= settle_due_ || now >= settle_sync_due_) flush_settles();
    if (now >= sync_due_ || unsynced_bytes_ > config_.most_unsynced) sync_now();
    if (now >= names_due_) look_for_names();
    journal_.maintain();
    if (hooks_.turned) hooks_.turned();
  }
  spill_if_wanted();            // the thread may have been busy until the end
  if (spill_refused_) spill();  // the disk may take it now
  checkpoint();
}

// ---- commits

void Committer::commit(std::vector<Request>& requests) {
  for (std::size_t first = 0; first < requests.size();) {
    std::size_t bytes = requests[first].block->body().size();
    std::size_t end = first + 1;
    while (end < requests.size() && bytes + requests[end].block->body().size() <= kMostACommit) {
      bytes += requests[end++].block->body().size();
    }
    commit_some(std::span(requests).subspan(first, end - first));
    first = end;
    if (unsynced_bytes_ > config_.most_unsynced) sync_now();
  }
}

void Committer::commit_some(std::span<Request> requests) {
  std::vector<Block::Owner> blocks;
  std::vector<Block*> raw;
  std::uint64_t reserved = 0;
  std::uint64_t events = 0;
  for (Request& request : requests) {
    reserved += request.reserved;
    events += request.block->count();
    raw.push_back(request.block.get());
  }
  // An attempt uses up its sequences. One commit's are taken at once, so they are consecutive.
  std::uint64_t sequence = queue_.take_numbers(events);
  for (Block* const block : raw) {
    block->number(config_.run, sequence);
    sequence += block->count();
  }
  journal::Journal::Place place;
  const bool failed_before = journal_.failed();
  if (failed_before || write(raw, reserved, place)) {
    if (!failed_before) plan_recovery();
    for (Request& request : requests) give_up(request);
    return;
  }
  if (config_.sync_each) backoff_ = {};
  hooks_.accepted(events);
  const bool hold = !config_.sync_each;
  for (Request& request : requests) {
    request.block->settle_in(place.segment);
    if (hold) {
      request.block->hold();
      unsynced_.push_back(request.block.get());
      unsynced_bytes_ += request.block->ticket().bytes();
    }
    blocks.push_back(std::move(request.block));
  }
  if (hold && sync_due_ == kNever) sync_due_ = Clock::now() + config_.pace.sync_every;
  std::vector<std::pair<EventId, EventId>> ids;
  ids.reserve(blocks.size());
  for (const Block::Owner& block : blocks) {
    ids.emplace_back(EventId{config_.run, block->first_sequence()},
                     EventId{config_.run, block->first_sequence() + block->count() - 1});
  }
  feeder_.committed(blocks, place);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (blocks[i] && hold) blocks[i]->ticket().give_back_events();  // its bytes go with the next sync
    blocks[i].reset();
    if (requests[i].complete) requests[i].complete(true, ids[i].first, ids[i].second);
  }
}

std::error_code Committer::write(std::span<Block* const> blocks, std::uint64_t reserved,
                                 journal::Journal::Place& place) {
  const auto began = Clock::now();
  const std::error_code error = commit_blocks(journal_, blocks, reserved, config_.sync_each, place);
  if (hooks_.took) hooks_.took(Clock::now() - began);
  return error;
}

void Committer::give_up(Request& request) {
  journal_.give_back(request.reserved);
  feeder_.gave_up(1);
  request.block.reset();
  if (request.complete) request.complete(false, {}, {});
}

// ---- between commits

void Committer::let_go_unsynced() {
  for (Block* const block : unsynced_) block->release(1);
  unsynced_.clear();
  unsynced_bytes_ = 0;
  sync_due_ = kNever;
}

void Committer::sync_now() {
  if (journal_.failed()) {
    sync_due_ = kNever;  // recover() writes them anew
    return;
  }
  if (journal_.sync()) {
    plan_recovery();
    sync_due_ = kNever;
    return;
  }
  backoff_ = {};
  let_go_unsynced();
}

void Committer::flush_settles() {
  std::vector<Settle> settles;
  {
    const std::lock_guard lock(mutex_);
    settles.swap(settles_);
  }
  for (const Settle& one : settles) journal_.settle(one.segment, one.first, one.count);
  settle_due_ = kNever;
  const auto now = Clock::now();
  if (now >= settle_sync_due_) {
    begin_settle_sync(now);
    return;
  }
  const std::error_code error = journal_.write_settles();
  if (settle_sync_due_ == kNever) settle_sync_due_ = now + config_.pace.sync_every;
  if (error) settle_sync_due_ = now + config_.pace.sync_every;  // delivery goes on meanwhile
  log_settles(error, now);
}

// Hands the files to the settler; if it is still busy with the last ones, a little later.
void Committer::begin_settle_sync(Clock::time_point now) {
  {
    const std::lock_guard lock(mutex_);
    if (settle_syncing_ != SettleSyncing::idle) {
      settle_sync_due_ = now + config_.pace.settle_every;
      return;
    }
  }
  settle_sync_due_ = kNever;
  const std::error_code error = journal_.begin_settle_sync(settle_sync_);
  if (error) {
    settle_sync_due_ = now + config_.pace.sync_every;  // delivery goes on meanwhile
    log_settles(error, now);
  }
  if (settle_sync_.empty()) {
    if (!error) log_settles({}, now);
    return;
  }
  const std::lock_guard lock(mutex_);
  settle_syncing_ = SettleSyncing::wanted;
  settler_wanted_.notify_one();
}

void Committer::end_settle_sync() {
  {
    const std::lock_guard lock(mutex_);
    if (settle_syncing_ != SettleSyncing::done) return;
    settle_syncing_ = SettleSyncing::idle;
  }
  const auto now = Clock::now();
  const std::error_code error = journal_.end_settle_sync(settle_sync_);
  settle_sync_.clear();
  if (error) settle_sync_due_ = now + config_.pace.sync_every;
  log_settles(error, now);
}

// The settler's thread.
void Committer::sync_settles(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (settler_wanted_.wait(lock, stop, [this] { return settle_syncing_ == SettleSyncing::wanted; })) {
    lock.unlock();
    for (journal::Journal::SettleSync& one : settle_sync_) journal::Journal::sync_settled(one);
    lock.lock();
    settle_syncing_ = SettleSyncing::done;
    wanted_.notify_one();
    changed_.notify_all();
  }
}

// Logs once, and only a failure that lasts; if the journal has failed, that is logged already.
void Committer::log_settles(std::error_code error, Clock::time_point now) {
  if (!error) {
    settles_failed_at_ = kNever;
    settles_logged_ = false;
    return;
  }
  settles_failed_at_ = std::min(settles_failed_at_, now);
  if (settles_logged_ || journal_.failed() || now - settles_failed_at_ < config_.pace.sync_every) return;
  settles_logged_ = true;
  hooks_.log(LogLevel::warn, fmt::format("settles cannot be written, kept in memory: {}", error.message()));
}

// Of an idle journal, too: nothing else would notice an unlinked file before the stop.
void Committer::look_for_names() {
  names_due_ = Clock::now() + config_.pace.sync_every;
  const bool failed_before = journal_.failed();
  static_cast<void>(journal_.look_for_names());  // a file that cannot be checked now is checked next time
  if (journal_.failed() && !failed_before) plan_recovery();
  if (!journal_.caught_up()) feeder_.wake();  // events that were written anew may be backlog
}

// After each failure. The waits grow until a sync has shown that the disk takes events again: a disk that takes a new
// segment, and then nothing in it, would otherwise make the journal look healthy twenty times a second.
void Committer::plan_recovery() {
  backoff_ = std::clamp(2 * backoff_, config_.pace.least_backoff, config_.pace.most_backoff);
  recover_due_ = Clock::now() + backoff_;
}

bool Committer::try_recover() {
  flush_settles();
  const std::error_code error = recover_blocks(journal_, unsynced_);
  feeder_.wake();  // it may have brought back a backlog, and then found no room for more
  if (!error) {
    let_go_unsynced();
    recover_due_ = kNever;
    return true;
  }
  plan_recovery();
  return false;
}

void Committer::spill_if_wanted() {
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(spill_wanted_, false)) return;
  }
  spill();
}

void Committer::spill() {
  feeder_.end_straight();
  if (journal_.failed()) static_cast<void>(try_recover());
  std::vector<Block*> held = unrecorded_.hold_all();
  std::ranges::sort(held, {}, &Block::first_sequence);
  std::vector<journal::Record> records;
  for (Block* const block : held) {
    unrecorded_.each_unfinished(*block, [&](std::uint32_t i) {
      const Delivery event = block->delivery(i);
      records.push_back({event.id.sequence, event.received, event.content_type, event.payload});
    });
  }
  std::uint64_t segment = 0;
  const std::error_code error = journal_.spill(records, segment);
  for (Block* const block : held) {
    if (!error && segment != 0) {
      // An event that was finished before the spill has no record there, and must not count as settled.
      unrecorded_.recorded(*block, segment, [&](std::uint32_t i) {
        const std::uint64_t sequence = block->first_sequence() + i;
        if (std::ranges::binary_search(records, sequence, {}, &journal::Record::sequence)) {
          const Settle one{segment, sequence, 1};
          settle({&one, 1});
        }
      });
    }
    block->release(1);
  }
  spill_refused_ = static_cast<bool>(error);
  if (error) {
    hooks_.log(LogLevel::error, fmt::format("events in memory could not be written down events={}: {}", records.size(),
                                            error.message()));
  } else if (!records.empty()) {
    hooks_.log(LogLevel::info, fmt::format("events in memory are written down events={}", records.size()));
  }
}

void Committer::checkpoint() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return settle_syncing_ != SettleSyncing::wanted; });
  }
  end_settle_sync();
  if (journal_.failed()) static_cast<void>(try_recover());
  settle_sync_due_ = kNever;
  flush_settles();
  std::error_code error = journal_.close();  // syncs them, too
  // It failed just now: recover what that may have destroyed, and close the rest as usual.
  if (error && journal_.failed() && try_recover()) error = journal_.close();
  nameless_.store(journal_.nameless());
  if (journal_.has_unwritten_settles()) {
    hooks_.log(LogLevel::warn, "what was delivered and could not be settled on disk comes once more at the next start");
  }
  if (error) {
    hooks_.log(LogLevel::error, fmt::format("the journal was not closed well: {}",
                                            journal_.failed() ? journal_.cause() : error.message()));
  } else {
    let_go_unsynced();
    checkpointed_.store(true);
  }
}

// From here submit() completes each request at once.
void Committer::end() {
  std::vector<Request> late;
  {
    const std::lock_guard lock(mutex_);
    late.swap(waiting_);  // they came during the checkpoint
    ended_ = true;
    changed_.notify_all();
  }
  for (Request& request : late) give_up(request);
}

}  // namespace sluice::backlog
