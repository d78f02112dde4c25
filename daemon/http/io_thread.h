// One io thread of a server: its event loop, its connections, and what they share because only one of them has its turn
// at a time. Of an IoThread any thread may call run(), stop(), post() and statistics(); all else belongs to the thread
// that runs it. Receipts that come late wake it (slots.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "http/acceptor.h"
#include "http/answers.h"
#include "http/connection.h"
#include "http/event_loop.h"
#include "http/intake.h"
#include "http/known_head.h"
#include "http/shared.h"
#include "http/slots.h"
#include "http/statistics.h"
#include "sluice/log_limit.h"

namespace sluiced::http {

class IoThread {
 public:
  explicit IoThread(Shared& shared);
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  void run();                                                             // the thread's life: until stop()
  void stop() noexcept { events_.stop(); }                                // any thread
  void post(std::function<void()> job) { events_.post(std::move(job)); }  // any thread; runs on this one, in order

  void accept_on(Listener& listener, Acceptor::HandOver hand_over);  // before run()
  void accept_waiting();                                             // all that the listen queues hold
  void adopt(const Accepted& accepted);

  void begin_drain(Clock::time_point reading);  // closes the listeners, and lets no request begin
  void close_quiet();                           // closes connections whose clients say nothing
  void give_up();                               // closes connections whose clients are owed answers

  // For its connections and acceptors.
  static constexpr std::size_t kScratch = std::size_t{64} << 10U;
  [[nodiscard]] EventLoop& events() noexcept { return events_; }
  [[nodiscard]] Shared& shared() noexcept { return shared_; }
  [[nodiscard]] Intake& intake() noexcept { return intake_; }
  [[nodiscard]] Slots& slots() noexcept { return slots_; }
  [[nodiscard]] Statistics& statistics() noexcept { return statistics_; }
  [[nodiscard]] KnownHead& known_head() noexcept { return known_head_; }
  [[nodiscard]] sluice::LogLimit& accept_failures() noexcept { return accept_failures_; }
  [[nodiscard]] std::string_view common(Ending ending) { return common_.now(ending); }  // fields of each answer
  [[nodiscard]] std::string& out() noexcept { return out_; }                            // answers of this turn
  std::uint32_t answers_in_out = 0;
  [[nodiscard]] char* scratch() noexcept { return scratch_.get(); }  // what is read in this turn
  [[nodiscard]] bool draining() const noexcept { return draining_; }
  [[nodiscard]] bool quiet_over() const noexcept { return quiet_over_; }         // of a drain: close_quiet() has begun
  [[nodiscard]] Clock::time_point reading() const noexcept { return reading_; }  // of a drain: until when
  void change_owed(const Owed& before, const Owed& now) noexcept;                // of one connection
  void settling(bool begins) noexcept;  // one connection's last answer is on its way, or has arrived
  void arm_sweep() noexcept;
  void forget(Connection& connection);              // destroys it
  void move_back(Connection& connection) noexcept;  // it has just done something
  // Before `newcomer` takes memory: if little is left, the requests that hold most bytes for longest without progress
  // lose theirs.
  void relieve(const Connection& newcomer) noexcept;

  [[nodiscard]] const Statistics& statistics() const noexcept { return statistics_; }

 private:
  void recover();
  void answer_completed();
  [[nodiscard]] bool try_let_one_go();
  void sweep();
  void trim();
  void each(const std::function<void(Connection&)>& turn);
  void publish() noexcept;
  void add_busy(bool busy) noexcept;

  Shared& shared_;
  EventLoop events_;
  EventLoop::Timer sweep_timer_;
  std::deque<Acceptor> acceptors_;
  Statistics statistics_;
  Slots slots_;
  Intake intake_;
  KnownHead known_head_;
  CommonFields common_;
  std::string out_;
  std::unique_ptr<char[]> scratch_;
  std::list<Connection> connections_;  // least recently active first, to within kMoved
  bool draining_ = false;              // new requests are refused
  bool drain_begun_ = false;           // and every connection knows it
  bool reading_over_ = false;
  bool quiet_over_ = false;
  bool quiet_ = false;  // as counted in Shared::busy_threads
  Clock::time_point reading_{};
  Clock::time_point no_relief_until_{};
  sluice::LogLimit accept_failures_{std::chrono::seconds{10}};  // with clients that come and go this is a state
  sluice::LogLimit cut_short_{std::chrono::seconds{10}};        // turns
  std::size_t most_held_ = 0;                                   // of the budget, at sweeps, since the last trim
  std::size_t settling_ = 0;                                    // connections whose last answer is on its way
};

}  // namespace sluiced::http
