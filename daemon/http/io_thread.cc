// One io thread: lets connections have their turns, keeps time by one sweep instead of a timer a connection, and leads
// its part of a drain. Threads: see the header.
#include "http/io_thread.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "http/coarse_clock.h"

namespace sluiced::http {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSweep{250};
constexpr milliseconds kSweepAtLeast{5};
constexpr milliseconds kSweepDraining{5};
constexpr int kCompletionRounds = 4;  // in one turn
constexpr std::size_t kWorthTrimming = std::size_t{2} << 20U;
constexpr std::size_t kOfAConnection = std::size_t{2} << 10U;  // itself, and the holes between it and others
constexpr int kMaxRelieved = 64;                               // in one turn
constexpr milliseconds kNoRelief{50};
constexpr int kMaxTried = 1024;  // connections, for one that is idle

Clock::duration sweep_period(const Config& config, bool draining) {
  if (draining) return kSweepDraining;
  const auto shortest = std::min(config.request_timeout, config.idle_timeout);
  const auto quarter = std::chrono::duration_cast<Clock::duration>(shortest / 4);
  return std::clamp<Clock::duration>(quarter, kSweepAtLeast, kSweep);
}

}  // namespace

IoThread::IoThread(Shared& shared)
    : shared_(shared),
      events_([this] { answer_completed(); }),
      sweep_timer_(events_, [this] { sweep(); }),
      slots_(shared.budget, events_),
      intake_(shared.config.submit, {shared.config.max_event_bytes, shared.config.max_request_bytes}, shared.budget),
      common_(shared.config.idle_timeout, shared.config.allowed_origins),
      scratch_(new char[kScratch]) {}

void IoThread::run() {
  slots_.belong_to_this_thread();
  for (bool cut_short = false;; cut_short = true) {
    try {
      if (cut_short) recover();
      events_.run();
      return;
    } catch (const std::exception& error) {  // no memory; the sweep takes care of the connection that threw
      const std::uint64_t times = shared_.config.log ? cut_short_.tell() : 0;
      if (times > 0) shared_.config.log(sluice::LogLevel::error, fmt::format("http: {} times={}", error.what(), times));
    }
  }
}

// Does what a turn that was cut short would have done at its end.
void IoThread::recover() {
  out_.clear();
  answers_in_out = 0;
  slots_.wake();
  arm_sweep();
}

// A turn for each connection whose first request the committer has completed; again for those completed meanwhile.
void IoThread::answer_completed() {
  if (slots_.asleep()) return;  // woken for a job
  statistics_.count_wake_up();
  for (int rounds = kCompletionRounds; rounds > 0; --rounds) {
    for (CompletedLink* next = slots_.take_completed(); next != nullptr;) {
      Connection& connection = static_cast<Slot*>(next)->queue->connection();
      next = next->next_completed;  // the turn ends the slot
      connection.on_completed();
    }
    if (slots_.try_sleep()) return;
  }
  slots_.wake();  // sockets want their turn
}

// ---- connections

void IoThread::accept_on(Listener& listener, Acceptor::HandOver hand_over) {
  acceptors_.emplace_back(*this, listener, std::move(hand_over));
}

void IoThread::accept_waiting() {
  for (Acceptor& acceptor : acceptors_) acceptor.accept_waiting();
}

void IoThread::adopt(const Accepted& accepted) {
  const bool one_too_many = shared_.connections > shared_.config.max_connections && !try_let_one_go();
  Connection& connection = connections_.emplace_back(*this, accepted);
  connection.self = std::prev(connections_.end());
  arm_sweep();
  connection.begin(one_too_many);
}

// The client that has been idle for longest loses its connection, as it would by its time-out. This thread does not
// know the clients of others; sockets go round, so each thread has its share of the idle ones.
bool IoThread::try_let_one_go() {
  int tried = 0;
  for (Connection& connection : connections_) {
    if (connection.try_let_go()) return true;  // and it is destroyed
    if (++tried == kMaxTried) break;
  }
  return false;
}

// A quarter is kept free for requests that make progress, and for small charges, such as an answer's.
void IoThread::relieve(const Connection& newcomer) noexcept {
  const Budget& budget = shared_.budget;
  if (budget.used() <= budget.limit() - budget.limit() / 4) return;
  const Clock::time_point now = coarse_now();
  if (now < no_relief_until_) return;
  for (int relieved = 0; relieved < kMaxRelieved && budget.used() > budget.limit() - budget.limit() / 4; ++relieved) {
    Connection* heaviest = nullptr;
    double most = 0;
    for (Connection& connection : connections_) {
      const double burden = &connection == &newcomer ? 0 : connection.burden(now);
      if (burden <= most) continue;
      most = burden;
      heaviest = &connection;
    }
    if (heaviest == nullptr) {
      no_relief_until_ = now + kNoRelief;  // all make progress: do not walk through all of them again at once
      return;
    }
    heaviest->lose_request();
  }
}

void IoThread::move_back(Connection& connection) noexcept {
  connections_.splice(connections_.end(), connections_, connection.self);
}

void IoThread::forget(Connection& connection) { connections_.erase(connection.self); }

// ---- time

void IoThread::arm_sweep() noexcept {
  if (!sweep_timer_.is_set()) sweep_timer_.set(Clock::now() + sweep_period(shared_.config, draining_));
}

void IoThread::sweep() {
  const Clock::time_point now = coarse_now();
  if (draining_ && !reading_over_ && now >= reading_) {
    reading_over_ = quiet_over_ = true;
    each([](Connection& connection) { connection.end_reading(); });
  }
  each([now](Connection& connection) { connection.tick(now); });
  for (Acceptor& acceptor : acceptors_) acceptor.resume();
  trim();
  if (!connections_.empty()) arm_sweep();
}

// Returns to the system what many clients at a time made the allocator take from it: in pieces between others, it would
// stay for good.
void IoThread::trim() {
  const std::size_t held = shared_.budget.used() + connections_.size() * kOfAConnection;
  most_held_ = std::max(most_held_, held);
  // After the last client there is no other sweep for a while.
  const std::size_t worth = connections_.empty() ? kWorthTrimming / 8 : kWorthTrimming;
  if (most_held_ - held < worth) return;
  most_held_ = held;
  ::malloc_trim(0);
}

// A turn for each; it may be their last.
void IoThread::each(const std::function<void(Connection&)>& turn) {
  for (auto next = connections_.begin(); next != connections_.end();) turn(*next++);
}

// ---- draining

void IoThread::begin_drain(Clock::time_point reading) {
  reading_ = reading;
  draining_ = true;  // before the listeners close: a client that finds nobody listening meets a server that drains
  for (Acceptor& acceptor : acceptors_) acceptor.close();
  each([](Connection& connection) { connection.drain(); });
  drain_begun_ = true;
  publish();
  sweep_timer_.cancel();  // its period is shorter from here
  arm_sweep();
}

void IoThread::close_quiet() {
  quiet_over_ = true;
  each([](Connection& connection) { connection.drain(); });
  add_busy(false);  // as Server::close_quiet() has counted it
}

void IoThread::give_up() {
  each([](Connection& connection) { connection.give_up(); });
}

void IoThread::change_owed(const Owed& before, const Owed& now) noexcept {
  statistics_.change_owed(before, now);
  publish();
}

void IoThread::settling(bool begins) noexcept {
  settling_ = begins ? settling_ + 1 : settling_ - 1;
  publish();
}

void IoThread::publish() noexcept {
  if (!drain_begun_) return;
  const bool quiet = statistics_.owed() == 0 && settling_ == 0;
  if (quiet == quiet_) return;
  quiet_ = quiet;
  add_busy(!quiet);
}

void IoThread::add_busy(bool busy) noexcept {
  const std::lock_guard lock(shared_.mutex);
  shared_.busy_threads = busy ? shared_.busy_threads + 1 : shared_.busy_threads - 1;
  if (shared_.busy_threads > 0) return;
  shared_.changed.notify_all();
  if (shared_.on_drained) shared_.on_drained();
}

}  // namespace sluiced::http
