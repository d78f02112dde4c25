// The door: bounded in events and bytes, closable, and what a shutdown waits on, in one object. Between asking for room
// and holding it, or between closing and waiting, there is no gap: closed flag and count live in one atomic word.
// Producers enter on any thread (two compare-exchanges); workers give back by runs (one fetch_sub). It never queues:
// who finds no room is told so, or waits here until a deadline.
//
// Behind the door is the window: events that wait for a worker, bounded in number and bytes. Where a disk takes what
// the window does not, there is a passage as well, for events on their way to the disk, bounded by bytes alone. Each
// has a byte counter and a limit of its own, so intake at full speed takes nothing from the window, which the feeder
// fills. A request larger than the whole passage takes all of it and the rest of its bytes from the window, unless
// somebody waits for those. Passing events count as out like all others.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

#include "sluice/event.h"

namespace sluice {

class Admission;

// Permission: holding a ticket IS being admitted, with n events and b bytes. What is left in it is given back by its
// destructor. Its events and bytes may go separate ways: a block keeps the bytes until it is freed, its events return
// one by one.
class Ticket {
 public:
  Ticket(Ticket&& other) noexcept
      : door_(std::exchange(other.door_, nullptr)),
        events_(std::exchange(other.events_, 0)),
        bytes_(std::exchange(other.bytes_, 0)),
        passes_(std::exchange(other.passes_, false)) {}
  Ticket& operator=(Ticket&& other) noexcept;
  Ticket() = default;  // holds nothing
  ~Ticket() {
    if (door_ != nullptr) give_back();
  }

  [[nodiscard]] std::size_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  // Takes over what the other holds, of the same door: what many held is given back in one step.
  void absorb(Ticket other) noexcept {
    if (other.passes_) return;  // given back by itself: here all are of the window
    if (door_ == nullptr) door_ = other.door_;
    events_ += std::exchange(other.events_, 0);
    bytes_ += std::exchange(other.bytes_, 0);
    other.door_ = nullptr;
  }

  // It is in the passage, not in the window: see Admission::try_pass.
  [[nodiscard]] bool passes() const noexcept { return passes_; }

  // From here the events return by Admission::give_back_events, the bytes still with this ticket.
  void hand_over_events() noexcept { events_ = 0; }
  // They are out no more; the bytes still are.
  void give_back_events() noexcept;

 private:
  friend class Admission;
  Ticket(Admission& door, std::size_t events, std::size_t bytes, bool passes = false) noexcept
      : door_(&door), events_(events), bytes_(bytes), passes_(passes) {}
  void give_back() noexcept;

  Admission* door_ = nullptr;
  std::size_t events_ = 0;
  std::size_t bytes_ = 0;
  bool passes_ = false;
};

class Admission {
 public:
  // `events` at most 2^30. `passage`: how many of the bytes are the passage's; the rest is the window's.
  Admission(std::size_t events, std::size_t bytes, std::size_t passage = 0) noexcept
      : event_limit_(events), window_limit_(bytes - passage), passage_limit_(passage) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Asks and enters in one step, all or nothing. Refusals: closed, too_large (an empty door could not take it), full.
  [[nodiscard]] std::variant<Ticket, Admit> try_admit(std::size_t events, std::size_t bytes) noexcept;

  // The same, waiting for room until the deadline (then `full`). Waiters are not served in order.
  [[nodiscard]] std::variant<Ticket, Admit> wait_admit(std::size_t events, std::size_t bytes,
                                                       std::chrono::steady_clock::time_point deadline);

  // For who needs room elsewhere as well, and so has to look for himself: while one of these lives, every change here
  // counts, whatever is given back, the close, and what others say by nudge().
  class Watch {
   public:
    explicit Watch(Admission& door);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    // Read before looking; then waits for one that came since. False: the deadline came first.
    [[nodiscard]] std::uint64_t changes() const;
    [[nodiscard]] bool wait_change(std::uint64_t since, std::chrono::steady_clock::time_point deadline) const;

   private:
    Admission& door_;
  };
  void nudge() noexcept {
    if ((state_.load() & kWaiting) != 0) wake();
  }
  // Whether try_admit, or try_pass, would find room at this moment.
  [[nodiscard]] bool has_room(std::size_t events, std::size_t bytes) const noexcept {
    return (state_.load() & kEvents) + events <= event_limit_ && fits(bytes, window_out_.load(), window_limit_);
  }
  [[nodiscard]] bool has_passage(std::size_t bytes) const noexcept {
    const auto [passage, window] = split(bytes);
    return fits(passage, passage_out_.load(), passage_limit_) && (window == 0 || may_borrow(window));
  }

  // Into the passage, where only bytes are bounded. Refusals as above; too_large is what both limits together exclude.
  [[nodiscard]] std::variant<Ticket, Admit> try_pass(std::size_t events, std::size_t bytes) noexcept;
  // From the passage into the window, events and bytes, if there is room. Open also once closed.
  [[nodiscard]] bool try_move_in(Ticket& ticket) noexcept;
  // Into the window, whatever its bounds say: for an event that is too large for it, of an earlier run. Refusal:
  // closed.
  [[nodiscard]] std::variant<Ticket, Admit> admit_beyond(std::size_t events, std::size_t bytes) noexcept;

  // Bytes for events that are admitted already (a copy that outlives its block): the window's, or else the passage's.
  // Open also once closed.
  [[nodiscard]] std::optional<Ticket> try_charge(std::size_t bytes) noexcept;

  // n of the events that are out are finished. Any thread. The last act of whoever finished them: a shutdown that
  // waits may go on at once.
  void give_back_events(std::size_t n) noexcept;

  // From here nobody is admitted; all who wait for room are told so. Idempotent.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return (state_.load() & kClosed) != 0; }

  // Waits until no event is out, or `deadline`, or the last hasten()ed one. True if none is out.
  [[nodiscard]] bool wait_empty(std::chrono::steady_clock::time_point deadline);
  // Moves the deadline of every wait_empty forward, never back.
  void hasten(std::chrono::steady_clock::time_point deadline);

  [[nodiscard]] std::size_t events_out() const noexcept {
    const std::uint64_t now = state_.load();
    return (now & kEvents) + passing(now);
  }
  [[nodiscard]] std::size_t window_events_out() const noexcept { return state_.load() & kEvents; }
  [[nodiscard]] std::size_t bytes_out() const noexcept { return window_out_.load() + passage_out_.load(); }
  [[nodiscard]] std::size_t window_bytes_out() const noexcept { return window_out_.load(); }
  [[nodiscard]] std::size_t event_limit() const noexcept { return event_limit_; }
  [[nodiscard]] std::size_t byte_limit() const noexcept { return window_limit_ + passage_limit_; }
  [[nodiscard]] std::size_t window_bytes() const noexcept { return window_limit_; }
  [[nodiscard]] std::size_t passage_bytes() const noexcept { return passage_limit_; }

 private:
  friend class Ticket;
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63U;        // never returns to 0
  static constexpr std::uint64_t kWaiting = std::uint64_t{1} << 62U;       // somebody waits for room
  static constexpr std::uint64_t kEvents = (std::uint64_t{1} << 31U) - 1;  // how many are out: <= event_limit_
  static constexpr std::uint64_t kOnePasses = kEvents + 1;                 // and how many pass, counted in these
  static constexpr std::uint64_t kMostPassing = kEvents;
  static constexpr std::uint64_t passing(std::uint64_t state) noexcept { return (state & (kWaiting - 1)) / kOnePasses; }

  [[nodiscard]] static constexpr bool fits(std::size_t bytes, std::size_t out, std::size_t limit) noexcept {
    return out <= limit && bytes <= limit - out;
  }
  // Which counter holds how many of the bytes of a ticket that passes.
  struct Split {
    std::size_t passage, window;
  };
  [[nodiscard]] Split split(std::size_t bytes) const noexcept {
    const std::size_t passage = bytes < passage_limit_ ? bytes : passage_limit_;
    return {passage, bytes - passage};
  }
  [[nodiscard]] bool may_borrow(std::size_t bytes) const noexcept {
    return room_waiters_.load() == 0 && fits(bytes, window_out_.load(), window_limit_);
  }

  // The door itself; `give_back` returns bytes of the window that were charged in vain.
  template <typename GiveBack>
  [[nodiscard]] std::variant<Ticket, Admit> enter(std::size_t events, std::size_t bytes, GiveBack give_back) noexcept;
  [[nodiscard]] static bool charge(std::atomic<std::size_t>& out, std::size_t bytes, std::size_t limit) noexcept;
  [[nodiscard]] bool charge_passing(std::size_t bytes) noexcept;
  static void discharge(std::atomic<std::size_t>& out, std::size_t bytes) noexcept;
  void give_back_passing(std::size_t n) noexcept;
  void give_back_bytes(std::size_t n, bool passing) noexcept;
  void begin_waiting() noexcept;  // these three under mutex_
  void end_waiting() noexcept;
  void count_change() noexcept;
  void wake() noexcept;

  const std::size_t event_limit_;
  const std::size_t window_limit_;  // bytes, as all below
  const std::size_t passage_limit_;
  // On a cache line of their own: producers and workers meet here, and whoever comes touches two of them.
  alignas(64) std::atomic<std::uint64_t> state_{0};
  std::atomic<std::size_t> window_out_{0};   // <= window_limit_, but for what was admitted beyond
  std::atomic<std::size_t> passage_out_{0};  // <= passage_limit_

  std::atomic<std::size_t> room_waiters_{0};  // in wait_admit; written under mutex_
  alignas(64) std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t waiters_ = 0;    // guarded by mutex_; kWaiting is set while > 0
  std::uint64_t changes_ = 0;  // guarded by mutex_; counted while anybody waits
  std::chrono::steady_clock::time_point hastened_ = std::chrono::steady_clock::time_point::max();  // guarded by mutex_
};

}  // namespace sluice
