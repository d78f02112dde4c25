// The door: bounds events and bytes, can be closed, and is what a shutdown waits on. There is no gap between asking for
// space and holding it, nor between closing and waiting: the closed flag and the count are one atomic word. Any thread:
// producers enter by two compare-exchanges, workers give back runs by one fetch_sub. It never queues: a full door
// refuses, or waits until a deadline.
//
// Behind the door is the window: events that wait for a worker, bounded in number and bytes. With a disk there is also
// the passage, bounded by bytes alone: events on their way to the disk. Each has its own byte counter and limit, so
// intake at full speed takes nothing from the window, which the feeder fills. A request larger than the whole passage
// borrows the rest from the window, unless a producer waits for window bytes. All events count as out.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <variant>

#include "admission/ticket.h"
#include "sluice/event.h"

namespace sluice {

class Admission {
 public:
  using Clock = std::chrono::steady_clock;
  using Answer = std::variant<Ticket, Admit>;

  // `events` at most 2^30. `passage`: bytes of the passage; the rest of `bytes` is the window's.
  Admission(std::size_t events, std::size_t bytes, std::size_t passage = 0) noexcept
      : event_limit_(events), window_limit_(bytes - passage), passage_limit_(passage) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;
  // Asks and enters in one step, all or nothing. Refusals: closed, too_large (even an empty door could not take it),
  // full. wait_admit waits for space until the deadline (then `full`); waiters are not served in order.
  [[nodiscard]] Answer try_admit(std::size_t events, std::size_t bytes) noexcept;
  [[nodiscard]] Answer wait_admit(std::size_t events, std::size_t bytes, Clock::time_point deadline);
  // Into the passage, where only bytes are bounded. Refusals as above; too_large: more than both limits together.
  [[nodiscard]] Answer try_pass(std::size_t events, std::size_t bytes) noexcept;
  // From the passage into the window, events and bytes, if there is space; also once closed.
  [[nodiscard]] bool try_move_in(Ticket& ticket) noexcept;
  // Into the window, beyond its bounds: for an event of an earlier run that is larger than the window. Refusal: closed.
  [[nodiscard]] Answer admit_beyond(std::size_t events, std::size_t bytes) noexcept;
  // Bytes for events that are admitted already (a copy that outlives its block), of the window or else of the passage;
  // also once closed.
  [[nodiscard]] std::optional<Ticket> try_charge(std::size_t bytes) noexcept;
  // Would try_admit, or try_pass, find space now?
  [[nodiscard]] bool has_room(std::size_t events, std::size_t bytes) const noexcept;
  [[nodiscard]] bool has_passage(std::size_t bytes) const noexcept;

  // For callers that wait for two resources: while a Watch lives, each change here is counted: tickets given back, the
  // close, and each nudge().
  class Watch {
   public:
    explicit Watch(Admission& door);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    // Read changes(), check the resources, then wait for a change since. False: the deadline came first.
    [[nodiscard]] std::uint64_t changes() const;
    [[nodiscard]] bool wait_change(std::uint64_t since, Clock::time_point deadline) const;

   private:
    Admission& door_;
  };
  void nudge() noexcept;

  // n admitted events are finished. Must be the caller's last act on them: a waiting shutdown may go on at once.
  void give_back_events(std::size_t n) noexcept;

  // No event is admitted any more, and all that wait for space are refused. Idempotent.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;
  // Waits until no event is out, until `deadline`, or until that of hasten(). True if none is out.
  [[nodiscard]] bool wait_empty(Clock::time_point deadline);
  // Moves the deadline of every wait_empty nearer, never back.
  void hasten(Clock::time_point deadline);

  [[nodiscard]] std::size_t events_out() const noexcept;
  [[nodiscard]] std::size_t window_events_out() const noexcept;
  [[nodiscard]] std::size_t bytes_out() const noexcept { return window_out_.load() + passage_out_.load(); }
  [[nodiscard]] std::size_t window_bytes_out() const noexcept { return window_out_.load(); }
  [[nodiscard]] std::size_t event_limit() const noexcept { return event_limit_; }
  [[nodiscard]] std::size_t byte_limit() const noexcept { return window_limit_ + passage_limit_; }
  [[nodiscard]] std::size_t window_bytes() const noexcept { return window_limit_; }
  [[nodiscard]] std::size_t passage_bytes() const noexcept { return passage_limit_; }

 private:
  friend class Ticket;
  // `give_back` returns window bytes that were charged in vain.
  template <typename GiveBack>
  [[nodiscard]] Answer enter(std::size_t events, std::size_t bytes, GiveBack give_back) noexcept;
  [[nodiscard]] bool charge_passing(std::size_t bytes) noexcept;
  [[nodiscard]] bool may_borrow(std::size_t bytes) const noexcept;
  void give_back_passing(std::size_t n) noexcept;
  void give_back_bytes(std::size_t n, bool passing) noexcept;
  void begin_waiting() noexcept;  // these three under mutex_
  void end_waiting() noexcept;
  void count_change() noexcept;
  void wake() noexcept;

  const std::size_t event_limit_;
  const std::size_t window_limit_;  // bytes
  const std::size_t passage_limit_;
  // A cache line of their own: producers and workers write here.
  alignas(64) std::atomic<std::uint64_t> state_{0};  // flags and two counts of events: see admission.cc
  std::atomic<std::size_t> window_out_{0};           // <= window_limit_, except for admit_beyond
  std::atomic<std::size_t> passage_out_{0};          // <= passage_limit_
  std::atomic<std::size_t> room_waiters_{0};         // in wait_admit; written under mutex_

  alignas(64) std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t waiters_ = 0;                                // guarded by mutex_; kWaiting is set while > 0
  std::uint64_t changes_ = 0;                              // guarded by mutex_; counted while anyone waits
  Clock::time_point hastened_ = Clock::time_point::max();  // guarded by mutex_
};

}  // namespace sluice
