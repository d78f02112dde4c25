// One io thread: an event loop, its connections, and what they share because only one of them has its turn at a time.
// All but post(), stop() and the atomics belong to the thread that runs it; receipts that come late wake it (slots.h).
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "http/answers.h"
#include "http/connection.h"
#include "http/intake.h"
#include "http/known_head.h"
#include "http/listener.h"
#include "http/ready_set.h"
#include "http/shared.h"
#include "http/slots.h"
#include "sluice/log_limit.h"

namespace sluiced::http {

// The kernel's coarse clock: a few ms late, and nearly free. Good enough for time-outs.
[[nodiscard]] Clock::time_point coarse_now() noexcept;

class Loop {
 public:
  explicit Loop(Shared& shared);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The thread's life: until stop().
  void run();
  void stop() { context_.stop(); }       // any thread
  void post(std::function<void()> job);  // any thread; runs on this one, in order

  // Accepts on it, handing the sockets to `hand_over`. Before run().
  void accept_on(Listener& listener, std::function<void(const Accepted& accepted)> hand_over);
  void accept_waiting();  // takes what waits in the listen queues

  void adopt(const Accepted& accepted);
  void begin_drain(Clock::time_point reading);  // closes the listeners, and lets no request begin
  void close_quiet();                           // lets those go who have nothing to say
  void give_up();

  // For its connections.
  [[nodiscard]] ReadySet& ready_set() noexcept { return ready_set_; }
  [[nodiscard]] Shared& shared() noexcept { return shared_; }
  [[nodiscard]] Intake& intake() noexcept { return intake_; }
  [[nodiscard]] Slots& slots() noexcept { return slots_; }
  [[nodiscard]] std::string_view common(Ending ending) { return common_.now(ending); }  // fields of each answer
  [[nodiscard]] std::string& out() noexcept { return out_; }                            // answers of the turn at hand
  std::uint32_t answers_in_out = 0;
  static constexpr std::size_t kScratch = std::size_t{64} << 10U;
  [[nodiscard]] char* scratch() noexcept { return scratch_.get(); }  // what is read in the turn at hand
  [[nodiscard]] KnownHead& known_head() noexcept { return known_head_; }
  [[nodiscard]] bool draining() const noexcept { return draining_; }
  [[nodiscard]] bool quiet_over() const noexcept { return quiet_over_; }         // of a drain: who is quiet is to go
  [[nodiscard]] Clock::time_point reading() const noexcept { return reading_; }  // of a drain: until when
  void count(int status) noexcept;
  void count(Refused why) noexcept;
  void owe(const Owed& before, const Owed& now) noexcept;  // by one connection
  void settling(bool begins) noexcept;                     // one connection's last answer is on its way, or there
  void forget(Connection& connection);
  void move_back(Connection& connection) noexcept;  // it has just done something
  // Before `newcomer` takes memory: if little is left, the requests with most bytes for longest without progress lose
  // theirs.
  void relieve(const Connection& newcomer) noexcept;

  // Statistics, any thread.
  [[nodiscard]] std::size_t owed() const noexcept { return owed_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t with_committer() const noexcept { return with_committer_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t wake_ups() const noexcept { return wake_ups_.load(std::memory_order_relaxed); }
  void add_answered(std::map<int, std::uint64_t>& to) const;
  void add_refused(std::array<std::uint64_t, kRefused>& to) const noexcept;

 private:
  using Descriptor = boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;
  struct Acceptor {
    Listener& listener;
    Descriptor descriptor;
    std::function<void(const Accepted& accepted)> hand_over;
    bool paused = false;  // until the next sweep
  };

  void recover();
  void wait_for_ready();
  void serve_ready();
  void serve_told();
  void wait_for_clients(Acceptor& acceptor);
  [[nodiscard]] bool accept_some(Acceptor& acceptor, int most);
  void accepted(Acceptor& acceptor, int fd);
  void turn_away_unheard(int fd, std::string_view why);
  [[nodiscard]] bool try_let_one_go();
  void complain(const Acceptor& acceptor, int error);
  void stop_listening();
  void arm_sweep();
  void sweep();
  void trim();
  void each(const std::function<void(Connection&)>& turn);
  void publish() noexcept;
  void add_busy(bool busy) noexcept;

  Shared& shared_;
  boost::asio::io_context context_;
  ReadySet ready_set_;
  Descriptor ready_;  // of the set, which closes it
  boost::asio::steady_timer sweep_timer_;
  std::deque<Acceptor> acceptors_;
  Slots slots_;
  Intake intake_;
  KnownHead known_head_;
  CommonFields common_;
  std::string out_;
  std::unique_ptr<char[]> scratch_;
  std::list<Connection> connections_;  // least recently active first, to within kMoved
  bool ready_waited_ = false;
  bool sweep_armed_ = false;
  bool draining_ = false;     // new requests are refused
  bool drain_begun_ = false;  // and every connection knows it
  bool reading_over_ = false;
  bool quiet_over_ = false;
  bool quiet_ = false;  // as counted in Shared::busy_loops
  Clock::time_point reading_{};
  Clock::time_point no_relief_until_{};
  sluice::LogLimit accept_failures_{std::chrono::seconds{10}};  // with clients that come and go this is a state
  sluice::LogLimit cut_short_{std::chrono::seconds{10}};        // turns
  std::size_t most_held_ = 0;                                   // of the budget, at sweeps, since the last trim
  std::size_t settling_ = 0;                                    // connections whose last answer is on its way
  std::atomic<std::size_t> owed_{0};
  std::atomic<std::size_t> with_committer_{0};  // of those
  std::atomic<std::uint64_t> wake_ups_{0};
  std::array<std::atomic<std::uint64_t>, 600> answered_{};  // by status
  std::array<std::atomic<std::uint64_t>, kRefused> refused_{};
};

}  // namespace sluiced::http
