// One io thread: accepts, lets connections have their turns, keeps time by one sweep instead of a timer a request, and
// leads its part of a drain. What other threads may call says so in the header.
#include "http/loop.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <exception>
#include <system_error>

namespace sluiced::http {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSweep{250};
constexpr milliseconds kSweepAtLeast{5};
constexpr milliseconds kSweepDraining{5};
constexpr int kRoundsATurn = 16;
constexpr int kToldATurn = 4;
constexpr std::size_t kManyReady = 4;
constexpr int kAcceptsATurn = 64;  // others want their turn
constexpr std::size_t kWorthTrimming = std::size_t{2} << 20U;
constexpr std::size_t kOfAConnection = std::size_t{2}
                                       << 10U;  // that is open: itself, and the holes between it and others
// Connections beyond --max-connections: they may ask for a page, such as health, or linger after their 503.
constexpr std::size_t kTurnedAwayAtOnce = 64;
constexpr int kMostRelieved = 64;  // in one turn
constexpr milliseconds kNoRelief{50};
constexpr int kMostLookedAt = 1024;  // for one that is idle, when one has to go

Clock::duration sweep_period(const Config& config, bool draining) {
  if (draining) return kSweepDraining;
  const auto shortest = std::min(config.request_timeout, config.idle_timeout);
  const auto quarter = std::chrono::duration_cast<Clock::duration>(shortest / 4);
  return std::clamp<Clock::duration>(quarter, kSweepAtLeast, kSweep);
}

}  // namespace

Clock::time_point coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Clock::time_point(std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec});
}

// The hint: handlers may be posted from anywhere, but sockets and timers are touched by one thread only, without locks.
Loop::Loop(Shared& shared)
    : shared_(shared),
      context_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO),
      ready_(context_, ready_set_.fd()),
      sweep_timer_(context_),
      slots_(shared.budget),
      intake_(shared.config.submit, {shared.config.max_event_bytes, shared.config.max_request_bytes}, shared.budget),
      common_(shared.config.idle_timeout, shared.config.allowed_origins),
      scratch_(new char[kScratch]) {
  // Known by its null among the connections. By edges: a wake-up then costs one write, and no read.
  if (!ready_set_.try_watch(slots_.wake_fd(), nullptr, EPOLLIN | EPOLLET))
    throw std::system_error(errno, std::generic_category(), "epoll");
  wait_for_ready();
}

Loop::~Loop() {
  ready_.release();
  for (Acceptor& acceptor : acceptors_) {
    if (acceptor.descriptor.is_open()) acceptor.descriptor.release();  // the listener closes it
  }
}

void Loop::run() {
  slots_.belong_to_this_thread();
  const auto work = boost::asio::make_work_guard(context_);
  for (bool cut_short = false;; cut_short = true) {
    try {
      if (cut_short) recover();
      context_.run();
      return;
    } catch (const std::exception& error) {  // memory: the connection at hand is left to the sweep
      const std::uint64_t times = shared_.config.log ? cut_short_.tell() : 0;
      if (times > 0) shared_.config.log(sluice::LogLevel::error, fmt::format("http: {} times={}", error.what(), times));
    }
  }
}

// What a turn that was cut short would have done at its end.
void Loop::recover() {
  out_.clear();
  answers_in_out = 0;
  slots_.wake();
  if (!ready_waited_) wait_for_ready();
  arm_sweep();
}

void Loop::post(std::function<void()> job) { boost::asio::post(context_, std::move(job)); }

// ---- serving

void Loop::wait_for_ready() {
  ready_waited_ = true;
  ready_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
    ready_waited_ = false;
    if (error) return;
    serve_ready();
    wait_for_ready();
  });
}

// A turn for each connection that is ready; and again while many are, before the loop looks after anything else.
void Loop::serve_ready() {
  for (int rounds = kRoundsATurn; rounds > 0; --rounds) {
    const auto ready = ready_set_.ready();
    bool woken = false;
    for (const epoll_event& event : ready) {
      if (event.data.ptr == nullptr) {
        woken = true;
      } else {
        static_cast<Connection*>(event.data.ptr)->on_ready(event.events);
      }
    }
    if (woken) serve_told();  // last: whom it forgets may be among those that are ready
    if (ready.size() < kManyReady) return;
  }
}

// A turn for each connection that the committer has answered, and again for what it has answered meanwhile.
void Loop::serve_told() {
  wake_ups_.store(wake_ups_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // as owed_
  for (int rounds = kToldATurn; rounds > 0; --rounds) {
    for (ToldLink* next = slots_.take_told(); next != nullptr;) {
      Connection& connection = static_cast<Slot*>(next)->queue->connection();
      next = next->next_told;  // the turn ends the slot
      connection.on_told();
    }
    if (slots_.try_sleep()) return;
  }
  slots_.wake();  // others want their turn
}

// ---- accepting

void Loop::accept_on(Listener& listener, std::function<void(const Accepted& accepted)> hand_over) {
  acceptors_.push_back({listener, {context_, listener.fd()}, std::move(hand_over)});
  wait_for_clients(acceptors_.back());
}

void Loop::wait_for_clients(Acceptor& acceptor) {
  acceptor.descriptor.async_wait(boost::asio::posix::descriptor_base::wait_read,
                                 [this, &acceptor](const boost::system::error_code& error) {
                                   if (error || !acceptor.descriptor.is_open()) return;
                                   if (accept_some(acceptor, kAcceptsATurn)) {
                                     wait_for_clients(acceptor);
                                   } else {
                                     acceptor.paused = true;  // the sweep tries again
                                     arm_sweep();
                                   }
                                 });
}

// False: this process or system has no socket left, so that asking again at once would spin.
bool Loop::accept_some(Acceptor& acceptor, int most) {
  for (; most > 0; --most) {
    const int fd = acceptor.listener.accept(shared_.config.max_descriptors);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        complain(acceptor, errno);
        return false;
      }
      continue;  // that client is gone
    }
    accepted(acceptor, fd);
  }
  return true;
}

void Loop::accepted(Acceptor& acceptor, int fd) {
  Accepted newcomer{.fd = fd, .tcp = acceptor.listener.tcp()};
  if (shared_.peers.counts()) newcomer.peer = peer_of(fd);
  if (newcomer.peer && !shared_.peers.try_add(*newcomer.peer)) return turn_away_unheard(fd, kTooManyOfOne);
  const std::size_t open = shared_.connections += 1;
  if (open <= shared_.config.max_connections + kTurnedAwayAtOnce) return acceptor.hand_over(newcomer);
  shared_.connections -= 1;
  if (newcomer.peer) shared_.peers.remove(*newcomer.peer);
  turn_away_unheard(fd, kTooManyConnections);
}

// Told so, and closed without waiting until it is read: one that has sent something may not get to read it.
void Loop::turn_away_unheard(int fd, std::string_view why) {
  std::string text;
  write_problem(text, common({.keep_alive = false}), {503, why});
  (void)::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::close(fd);
  count(503);
  count(Refused::connections);
}

void Loop::complain(const Acceptor& acceptor, int error) {
  const std::uint64_t times = shared_.config.log ? accept_failures_.tell() : 0;
  if (times == 0) return;
  shared_.config.log(sluice::LogLevel::warn,
                     fmt::format("accept on {}: {}; connections wait times={}", acceptor.listener.name(),
                                 std::generic_category().message(error), times));
}

void Loop::accept_waiting() {
  constexpr int all = 4096;  // what a listen queue holds; a flood that goes on coming must not hold up the stop
  for (Acceptor& acceptor : acceptors_) {
    if (acceptor.descriptor.is_open()) (void)accept_some(acceptor, all);
  }
}

void Loop::stop_listening() {
  for (Acceptor& acceptor : acceptors_) {
    if (!acceptor.descriptor.is_open()) continue;
    acceptor.paused = false;
    acceptor.descriptor.release();
    acceptor.listener.close();
  }
}

void Loop::adopt(const Accepted& accepted) {
  const bool one_too_many = shared_.connections > shared_.config.max_connections && !try_let_one_go();
  Connection& connection = connections_.emplace_back(*this, accepted);
  connection.self = std::prev(connections_.end());
  arm_sweep();
  connection.begin(one_too_many);
}

// The client that has been idle for longest loses its connection, as it would by its time-out. Of other loops' clients
// this one knows nothing; sockets go round, so each has its share of the idle ones.
bool Loop::try_let_one_go() {
  int looked_at = 0;
  for (Connection& connection : connections_) {
    if (connection.try_let_go()) return true;  // and it is gone
    if (++looked_at == kMostLookedAt) break;
  }
  return false;
}

// A quarter is kept free for requests that make progress, and for small charges, such as an answer's.
void Loop::relieve(const Connection& newcomer) noexcept {
  const Budget& budget = shared_.budget;
  if (budget.used() <= budget.limit() - budget.limit() / 4) return;
  const Clock::time_point now = coarse_now();
  if (now < no_relief_until_) return;
  for (int relieved = 0; relieved < kMostRelieved && budget.used() > budget.limit() - budget.limit() / 4; ++relieved) {
    Connection* heaviest = nullptr;
    double most = 0;
    for (Connection& connection : connections_) {
      const double burden = &connection == &newcomer ? 0 : connection.burden(now);
      if (burden <= most) continue;
      most = burden;
      heaviest = &connection;
    }
    if (heaviest == nullptr) {
      no_relief_until_ = now + kNoRelief;  // all get on: a walk through all of them for nothing, and not again at once
      return;
    }
    heaviest->lose_request();
  }
}

void Loop::move_back(Connection& connection) noexcept {
  connections_.splice(connections_.end(), connections_, connection.self);
}

void Loop::forget(Connection& connection) { connections_.erase(connection.self); }

// ---- time

void Loop::arm_sweep() {
  if (sweep_armed_) return;
  sweep_armed_ = true;
  sweep_timer_.expires_after(sweep_period(shared_.config, draining_));
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    sweep_armed_ = false;
    sweep();
  });
}

void Loop::sweep() {
  const Clock::time_point now = coarse_now();
  if (draining_ && !reading_over_ && now >= reading_) {
    reading_over_ = quiet_over_ = true;
    each([](Connection& connection) { connection.end_reading(); });
  }
  each([now](Connection& connection) { connection.tick(now); });
  for (Acceptor& acceptor : acceptors_) {
    if (!acceptor.paused) continue;
    acceptor.paused = false;
    wait_for_clients(acceptor);
  }
  trim();
  if (!connections_.empty()) arm_sweep();
}

// What many clients at a time have made the allocator take from the system goes back when they have gone: it lies in
// pieces between others, where it would stay for good.
void Loop::trim() {
  const std::size_t held = shared_.budget.used() + connections_.size() * kOfAConnection;
  most_held_ = std::max(most_held_, held);
  // Behind the last client there is no other sweep for a while.
  const std::size_t worth = connections_.empty() ? kWorthTrimming / 8 : kWorthTrimming;
  if (most_held_ - held < worth) return;
  most_held_ = held;
  ::malloc_trim(0);
}

// A turn for each; it may be their last.
void Loop::each(const std::function<void(Connection&)>& turn) {
  for (auto next = connections_.begin(); next != connections_.end();) turn(*next++);
}

// ---- draining

void Loop::begin_drain(Clock::time_point reading) {
  reading_ = reading;
  draining_ = true;  // before the listeners close: who sees that nobody listens any more meets a server that drains
  stop_listening();
  each([](Connection& connection) { connection.drain(); });
  drain_begun_ = true;
  publish();
  sweep_timer_.cancel();
  sweep_armed_ = false;
  arm_sweep();
}

void Loop::close_quiet() {
  quiet_over_ = true;
  each([](Connection& connection) { connection.drain(); });
  add_busy(false);  // as Server::close_quiet() has counted it
}

void Loop::give_up() {
  each([](Connection& connection) { connection.give_up(); });
}

void Loop::owe(const Owed& before, const Owed& now) noexcept {
  // Only this thread writes; others read it as statistics.
  const auto add = [](std::atomic<std::size_t>& to, std::size_t less, std::size_t more) {
    to.store(to.load(std::memory_order_relaxed) + more - less, std::memory_order_relaxed);
  };
  add(owed_, before.answers, now.answers);
  add(with_committer_, before.with_committer, now.with_committer);
  publish();
}

void Loop::settling(bool begins) noexcept {
  settling_ = begins ? settling_ + 1 : settling_ - 1;
  publish();
}

void Loop::publish() noexcept {
  if (!drain_begun_) return;
  const bool quiet = owed() == 0 && settling_ == 0;
  if (quiet == quiet_) return;
  quiet_ = quiet;
  add_busy(!quiet);
}

void Loop::add_busy(bool busy) noexcept {
  const std::lock_guard lock(shared_.mutex);
  shared_.busy_loops = busy ? shared_.busy_loops + 1 : shared_.busy_loops - 1;
  if (shared_.busy_loops > 0) return;
  shared_.changed.notify_all();
  if (shared_.on_drained) shared_.on_drained();
}

// ---- statistics

void Loop::count(int status) noexcept {
  // Relaxed: statistics only; this thread alone writes.
  auto& counter = answered_[std::clamp<std::size_t>(static_cast<std::size_t>(status), 0, answered_.size() - 1)];
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Loop::count(Refused why) noexcept {
  auto& counter = refused_[static_cast<std::size_t>(why)];  // as above
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Loop::add_refused(std::array<std::uint64_t, kRefused>& to) const noexcept {
  for (std::size_t why = 0; why < kRefused; ++why) to[why] += refused_[why].load(std::memory_order_relaxed);
}

void Loop::add_answered(std::map<int, std::uint64_t>& to) const {
  for (std::size_t status = 0; status < answered_.size(); ++status) {
    const std::uint64_t count = answered_[status].load(std::memory_order_relaxed);
    if (count != 0) to[static_cast<int>(status)] += count;
  }
}

}  // namespace sluiced::http
