// Why no event is missed: an entrant moves `state_` by a compare-exchange that fails once the closed bit is set, so an
// event that is not counted when close() returns is never admitted. Why no wake-up is missed: a waiter sets the waiting
// bit, then checks for space; a giver makes space, then checks the bit; all of it is sequentially consistent, so at
// least one of them sees the other. Why memory is bounded: a compare-exchange against the limit charges the bytes
// before the ticket exists; a ticket that moves from the passage into the window is charged there first and discharged
// after.
#include "admission/admission.h"

#include <algorithm>
#include <cassert>

#include "admission/instant.h"

namespace sluice {

namespace {

constexpr std::uint64_t kClosed = std::uint64_t{1} << 63U;        // never returns to 0
constexpr std::uint64_t kWaiting = std::uint64_t{1} << 62U;       // a thread waits for a change
constexpr std::uint64_t kEvents = (std::uint64_t{1} << 31U) - 1;  // count of events in the window: <= event_limit_
constexpr std::uint64_t kOnePasses = kEvents + 1;                 // unit of the count of events in the passage
constexpr std::uint64_t kMaxPassing = kEvents;

constexpr std::uint64_t passing(std::uint64_t state) noexcept { return (state & (kWaiting - 1)) / kOnePasses; }

constexpr bool fits(std::size_t bytes, std::size_t out, std::size_t limit) noexcept {
  return out <= limit && bytes <= limit - out;
}

// How many bytes of a ticket in the passage each counter holds.
struct Split {
  std::size_t passage, window;
};
constexpr Split split(std::size_t bytes, std::size_t passage_limit) noexcept {
  const std::size_t passage = std::min(bytes, passage_limit);
  return {passage, bytes - passage};
}

bool charge(std::atomic<std::size_t>& out, std::size_t bytes, std::size_t limit) noexcept {
  std::size_t now = out.load();
  do {
    if (!fits(bytes, now, limit)) return false;
  } while (!out.compare_exchange_weak(now, now + bytes));
  return true;
}

void discharge(std::atomic<std::size_t>& out, std::size_t bytes) noexcept {
  [[maybe_unused]] const std::size_t before = out.fetch_sub(bytes);
  assert(before >= bytes && "more bytes given back than are out");
}

}  // namespace

bool Admission::closed() const noexcept { return (state_.load() & kClosed) != 0; }

std::size_t Admission::events_out() const noexcept {
  const std::uint64_t now = state_.load();
  return (now & kEvents) + passing(now);
}

std::size_t Admission::window_events_out() const noexcept { return state_.load() & kEvents; }

bool Admission::has_room(std::size_t events, std::size_t bytes) const noexcept {
  return (state_.load() & kEvents) + events <= event_limit_ && fits(bytes, window_out_.load(), window_limit_);
}

bool Admission::has_passage(std::size_t bytes) const noexcept {
  const auto [passage, window] = split(bytes, passage_limit_);
  return fits(passage, passage_out_.load(), passage_limit_) && (window == 0 || may_borrow(window));
}

bool Admission::may_borrow(std::size_t bytes) const noexcept {
  return room_waiters_.load() == 0 && fits(bytes, window_out_.load(), window_limit_);
}

void Admission::nudge() noexcept {
  if ((state_.load() & kWaiting) != 0) wake();
}

// The passage first: a request that does not fit there must not touch the window.
bool Admission::charge_passing(std::size_t bytes) noexcept {
  const auto [passage, window] = split(bytes, passage_limit_);
  if (!charge(passage_out_, passage, passage_limit_)) return false;
  if (window == 0 || (may_borrow(window) && charge(window_out_, window, window_limit_))) return true;
  give_back_bytes(passage, true);
  return false;
}

Admission::Answer Admission::try_admit(std::size_t events, std::size_t bytes) noexcept {
  return enter(events, bytes, [this](std::size_t n) { give_back_bytes(n, false); });
}

template <typename GiveBack>
Admission::Answer Admission::enter(std::size_t events, std::size_t bytes, GiveBack give_back) noexcept {
  std::uint64_t now = state_.load();
  if ((now & kClosed) != 0) return Admit::closed;
  if (events > event_limit_ || bytes > window_limit_) return Admit::too_large;
  const auto room = [&] { return (now & kEvents) <= event_limit_ && events <= event_limit_ - (now & kEvents); };
  if (!room() || !charge(window_out_, bytes, window_limit_)) return Admit::full;
  SLUICE_INSTANT(bytes_charged);
  while (!state_.compare_exchange_weak(now, now + events)) {
    const bool is_closed = (now & kClosed) != 0;
    if (is_closed || !room()) {
      give_back(bytes);
      return is_closed ? Admit::closed : Admit::full;
    }
  }
  return Ticket(*this, events, bytes);
}

Admission::Answer Admission::wait_admit(std::size_t events, std::size_t bytes, Clock::time_point deadline) {
  auto answer = try_admit(events, bytes);
  // Bytes charged in vain are given back under the lock already held; other waiters may need them.
  const auto give_back_locked = [this](std::size_t n) {
    discharge(window_out_, n);
    count_change();
  };
  const auto is_full = [&] {
    const Admit* const refusal = std::get_if<Admit>(&answer);
    return refusal != nullptr && *refusal == Admit::full;
  };
  if (!is_full()) return answer;

  SLUICE_INSTANT(refused);
  std::unique_lock lock(mutex_);
  begin_waiting();
  room_waiters_.fetch_add(1);
  bool in_time = true;
  // One more attempt after the deadline: space that came with it counts.
  while (answer = enter(events, bytes, give_back_locked), is_full() && in_time) {
    in_time = changed_.wait_until(lock, deadline) == std::cv_status::no_timeout;
  }
  room_waiters_.fetch_sub(1);
  if (is_full() && waiters_ > 1) count_change();  // one waiter less may allow others to borrow from the window
  end_waiting();
  return answer;
}

void Admission::begin_waiting() noexcept {
  ++waiters_;
  state_.fetch_or(kWaiting);
}

void Admission::end_waiting() noexcept {
  if (--waiters_ == 0) state_.fetch_and(~kWaiting);
}

Admission::Watch::Watch(Admission& door) : door_(door) {
  const std::lock_guard lock(door_.mutex_);
  door_.begin_waiting();
}

Admission::Watch::~Watch() {
  const std::lock_guard lock(door_.mutex_);
  door_.end_waiting();
}

std::uint64_t Admission::Watch::changes() const {
  const std::lock_guard lock(door_.mutex_);
  return door_.changes_;
}

bool Admission::Watch::wait_change(std::uint64_t since, Clock::time_point deadline) const {
  std::unique_lock lock(door_.mutex_);
  return door_.changed_.wait_until(lock, deadline, [&] { return door_.changes_ != since; });
}

Admission::Answer Admission::try_pass(std::size_t events, std::size_t bytes) noexcept {
  std::uint64_t now = state_.load();
  if ((now & kClosed) != 0) return Admit::closed;
  if (events > kMaxPassing / 2 || bytes > byte_limit()) return Admit::too_large;
  const auto room = [&] { return events <= kMaxPassing - passing(now); };
  if (!room() || !charge_passing(bytes)) return Admit::full;
  SLUICE_INSTANT(bytes_charged);
  while (!state_.compare_exchange_weak(now, now + events * kOnePasses)) {
    const bool is_closed = (now & kClosed) != 0;
    if (is_closed || !room()) {
      give_back_bytes(bytes, true);
      return is_closed ? Admit::closed : Admit::full;
    }
  }
  return Ticket(*this, events, bytes, true);
}

bool Admission::try_move_in(Ticket& ticket) noexcept {
  assert(ticket.passes_ && "only a ticket in the passage can move in");
  const std::size_t bytes = split(ticket.bytes_, passage_limit_).passage;  // the window has the rest already
  if (!charge(window_out_, bytes, window_limit_)) return false;
  SLUICE_INSTANT(bytes_charged);
  std::uint64_t now = state_.load();
  do {
    if ((now & kEvents) > event_limit_ || ticket.events_ > event_limit_ - (now & kEvents)) {
      give_back_bytes(bytes, false);
      return false;
    }
  } while (!state_.compare_exchange_weak(now, now - ticket.events_ * kOnePasses + ticket.events_));
  ticket.passes_ = false;
  give_back_bytes(bytes, true);
  return true;
}

Admission::Answer Admission::admit_beyond(std::size_t events, std::size_t bytes) noexcept {
  std::uint64_t now = state_.load();
  do {
    if ((now & kClosed) != 0) return Admit::closed;
  } while (!state_.compare_exchange_weak(now, now + events));
  window_out_.fetch_add(bytes);
  return Ticket(*this, events, bytes);
}

std::optional<Ticket> Admission::try_charge(std::size_t bytes) noexcept {
  if (charge(window_out_, bytes, window_limit_)) return Ticket(*this, 0, bytes);
  if (charge(passage_out_, bytes, passage_limit_)) return Ticket(*this, 0, bytes, true);
  return std::nullopt;
}

void Admission::give_back_events(std::size_t n) noexcept {
  const std::uint64_t before = state_.fetch_sub(n);
  assert((before & kEvents) >= n && "more events given back than are out");
  const bool last = (before & kEvents) == n && passing(before) == 0;
  if ((before & kWaiting) != 0 || (last && (before & kClosed) != 0)) wake();
}

void Admission::give_back_passing(std::size_t n) noexcept {
  const std::uint64_t before = state_.fetch_sub(n * kOnePasses);
  assert(passing(before) >= n && "more events given back than are in the passage");
  const bool last = passing(before) == n && (before & kEvents) == 0;
  if ((before & kWaiting) != 0 || (last && (before & kClosed) != 0)) wake();
}

void Admission::give_back_bytes(std::size_t n, bool passing) noexcept {
  SLUICE_INSTANT(bytes_going_back);
  if (passing) {
    const auto [passage, window] = split(n, passage_limit_);
    if (window > 0) discharge(window_out_, window);
    discharge(passage_out_, passage);
  } else {
    discharge(window_out_, n);
  }
  if ((state_.load() & kWaiting) != 0) wake();
}

void Admission::wake() noexcept {
  // Under the lock: no waiter is between its check and its wait.
  const std::lock_guard lock(mutex_);
  count_change();
}

void Admission::count_change() noexcept {
  ++changes_;
  changed_.notify_all();
}

void Admission::close() noexcept {
  state_.fetch_or(kClosed);
  wake();
}

bool Admission::wait_empty(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  while (events_out() != 0) {
    const auto until = std::min(deadline, hastened_);
    if (Clock::now() >= until) return false;
    changed_.wait_until(lock, until);
  }
  return true;
}

void Admission::hasten(Clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  hastened_ = std::min(hastened_, deadline);
  changed_.notify_all();
}

}  // namespace sluice
