// The door. Why nobody is missed: an entrant moves `state_` by a compare-exchange that fails once the closed bit is
// set, so whoever is not counted when close() returns never gets in. A waiter sets the waiting bit, then looks for
// room; a giver makes room, then looks at the bit; all of it is sequentially consistent, so at least one of them sees
// the other. Why memory stays bounded: bytes are charged, by a compare-exchange against that counter's own limit,
// before the ticket exists; a ticket that moves from the passage into the window is charged there first and discharged
// after.
#include "admission/admission.h"

#include <algorithm>
#include <cassert>

#include "admission/instant.h"

namespace sluice {

Ticket& Ticket::operator=(Ticket&& other) noexcept {
  if (this != &other) {
    give_back();
    door_ = std::exchange(other.door_, nullptr);
    events_ = std::exchange(other.events_, 0);
    bytes_ = std::exchange(other.bytes_, 0);
    passes_ = std::exchange(other.passes_, false);
  }
  return *this;
}

void Ticket::give_back() noexcept {
  if (door_ == nullptr) return;
  // Bytes first: giving back the events is what lets a shutdown go on.
  if (bytes_ > 0) door_->give_back_bytes(std::exchange(bytes_, 0), passes_);
  give_back_events();
  door_ = nullptr;
}

void Ticket::give_back_events() noexcept {
  const std::size_t events = std::exchange(events_, 0);
  if (events == 0) return;
  if (passes_) {
    door_->give_back_passing(events);
  } else {
    door_->give_back_events(events);
  }
}

bool Admission::charge(std::atomic<std::size_t>& out, std::size_t bytes, std::size_t limit) noexcept {
  std::size_t now = out.load();
  do {
    if (!fits(bytes, now, limit)) return false;
  } while (!out.compare_exchange_weak(now, now + bytes));
  return true;
}

void Admission::discharge(std::atomic<std::size_t>& out, std::size_t bytes) noexcept {
  [[maybe_unused]] const std::size_t before = out.fetch_sub(bytes);
  assert(before >= bytes && "more bytes given back than are out");
}

// The passage first: what does not fit there leaves the window alone.
bool Admission::charge_passing(std::size_t bytes) noexcept {
  const auto [passage, window] = split(bytes);
  if (!charge(passage_out_, passage, passage_limit_)) return false;
  if (window == 0 || (may_borrow(window) && charge(window_out_, window, window_limit_))) return true;
  give_back_bytes(passage, true);
  return false;
}

std::variant<Ticket, Admit> Admission::try_admit(std::size_t events, std::size_t bytes) noexcept {
  return enter(events, bytes, [this](std::size_t n) { give_back_bytes(n, false); });
}

template <typename GiveBack>
std::variant<Ticket, Admit> Admission::enter(std::size_t events, std::size_t bytes, GiveBack give_back) noexcept {
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

std::variant<Ticket, Admit> Admission::wait_admit(std::size_t events, std::size_t bytes,
                                                  std::chrono::steady_clock::time_point deadline) {
  auto answer = try_admit(events, bytes);
  // Bytes that were charged in vain are given back under the lock that we hold: others that wait may want them.
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
  // Asked once more after the deadline: room that came with it counts.
  while (answer = enter(events, bytes, give_back_locked), is_full() && in_time) {
    in_time = changed_.wait_until(lock, deadline) == std::cv_status::no_timeout;
  }
  room_waiters_.fetch_sub(1);
  if (is_full() && waiters_ > 1) count_change();  // who gives up no longer keeps the window from being borrowed
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

bool Admission::Watch::wait_change(std::uint64_t since, std::chrono::steady_clock::time_point deadline) const {
  std::unique_lock lock(door_.mutex_);
  return door_.changed_.wait_until(lock, deadline, [&] { return door_.changes_ != since; });
}

std::variant<Ticket, Admit> Admission::try_pass(std::size_t events, std::size_t bytes) noexcept {
  std::uint64_t now = state_.load();
  if ((now & kClosed) != 0) return Admit::closed;
  if (events > kMostPassing / 2 || bytes > byte_limit()) return Admit::too_large;
  const auto room = [&] { return events <= kMostPassing - passing(now); };
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
  assert(ticket.passes_ && "only who passes can move in");
  const std::size_t bytes = split(ticket.bytes_).passage;  // the rest is the window's already
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

std::variant<Ticket, Admit> Admission::admit_beyond(std::size_t events, std::size_t bytes) noexcept {
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
  assert(passing(before) >= n && "more events given back than pass");
  const bool last = passing(before) == n && (before & kEvents) == 0;
  if ((before & kWaiting) != 0 || (last && (before & kClosed) != 0)) wake();
}

void Admission::give_back_bytes(std::size_t n, bool passing) noexcept {
  SLUICE_INSTANT(bytes_going_back);
  if (passing) {
    const auto [passage, window] = split(n);
    if (window > 0) discharge(window_out_, window);
    discharge(passage_out_, passage);
  } else {
    discharge(window_out_, n);
  }
  if ((state_.load() & kWaiting) != 0) wake();
}

void Admission::wake() noexcept {
  // Under the lock, so that nobody is between looking and waiting.
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

bool Admission::wait_empty(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  while (events_out() != 0) {
    const auto until = std::min(deadline, hastened_);
    if (std::chrono::steady_clock::now() >= until) return false;
    changed_.wait_until(lock, until);
  }
  return true;
}

void Admission::hasten(std::chrono::steady_clock::time_point deadline) {
  const std::lock_guard lock(mutex_);
  hastened_ = std::min(hastened_, deadline);
  changed_.notify_all();
}

}  // namespace sluice
