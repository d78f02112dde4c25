// The way in, on the producers' threads. In memory: the ticket, the block, the queue. By the disk: the ticket, the
// block, and either straight to the queue, where a record may come later, or room in the journal and the committer.
// It refuses what is too large, and what finds no room, a closed door or a failed disk; of that nothing was taken.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "tracker/engine.h"

namespace sluice {

namespace {

using std::chrono::milliseconds;

// Who waits in a track() for what becomes of his request. Shared with the receipt: a dead disk may never answer, and
// then the one who waits goes first.
class Waiter {
 public:
  void tell(const Outcome& outcome) {
    const std::lock_guard lock(mutex_);
    outcome_ = outcome;
    told_.notify_all();
  }
  // `failed` if nobody will tell any more.
  [[nodiscard]] Admit wait(const std::atomic<bool>& abandoned) {
    std::unique_lock lock(mutex_);
    while (!outcome_) {
      if (abandoned.load()) return Admit::failed;
      told_.wait_for(lock, milliseconds{100});
    }
    return outcome_->answer;
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::optional<Outcome> outcome_;  // guarded by mutex_
};

// Taken, and known under these ids at once.
Admit accept(const EventId& first, std::size_t events, const Receipt& receipt) {
  if (receipt) receipt({Admit::accepted, first, {first.run, first.sequence + events - 1}});
  return Admit::accepted;
}

}  // namespace

Admit Tracker::Engine::track(std::span<const Event> events) {
  if (events.empty()) return Admit::accepted;
  if (disked_) return take_and_wait(events, Deadline::min());
  return counted(take(events, Receipt()), events.size());
}

Submission Tracker::Engine::track(std::span<const Event> events, const Receipt& receipt) {
  if (events.empty()) {
    if (receipt) receipt({Admit::accepted, {}, {}});
    return Submission::under_way();
  }
  const Admit answer = counted(take(events, receipt), events.size());
  if (answer == Admit::accepted) return Submission::under_way();
  return Submission(answer);
}

Admit Tracker::Engine::wait_track(std::span<const Event> events, Deadline deadline) {
  if (events.empty()) return Admit::accepted;
  if (disked_) return take_and_wait(events, deadline);
  if (!fits(events)) return counted(Admit::too_large, events.size());
  auto answer = door_.wait_admit(events.size(), Block::bytes_for(events, {}), deadline);
  return counted(take_in_memory(events, std::move(answer), Receipt()), events.size());
}

// What a producer is told, once it is told.
Admit Tracker::Engine::counted(Admit answer, std::size_t events) noexcept {
  if (answer != Admit::accepted) refused_[static_cast<std::size_t>(answer)].fetch_add(events);
  return answer;
}

Admit Tracker::Engine::take(std::span<const Event> events, const Receipt& receipt) {
  if (!fits(events)) return Admit::too_large;
  if (disked_) return take_by_disk(events, receipt);
  return take_in_memory(events, door_.try_admit(events.size(), Block::bytes_for(events, {})), receipt);
}

bool Tracker::Engine::fits(std::span<const Event> events) const noexcept {
  const std::size_t most = options_.max_event_bytes;
  return std::ranges::all_of(events, [most](const Event& event) { return event.payload.size() <= most; });
}

Admit Tracker::Engine::take_in_memory(std::span<const Event> events, Answer&& answer, const Receipt& receipt) {
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) return *refusal;
  Block::Owner block = Block::make(memory_, events, std::get<Ticket>(std::move(answer)), {});
  block->ticket().hand_over_events();
  EventId first;
  const EventQueue::Push pushed = queue_.push(block, first);
  if (pushed != EventQueue::Push::done) {  // the deadline passed between the door and the queue, or there is no memory
    block.reset();
    door_.give_back_events(events.size());
    return pushed == EventQueue::Push::closed ? Admit::closed : Admit::full;
  }
  return accept(first, events.size(), receipt);
}

// ---- by the disk

// Under `queued` who is in the window goes straight to the queue, unless others are on disk before him. All the rest
// goes to the committer.
Admit Tracker::Engine::take_by_disk(std::span<const Event> events, const Receipt& receipt) {
  const bool is_queued = options_.ack == Ack::queued;
  if (!is_queued && disked_->journal.failed()) return Admit::failed;
  const Block::Layout layout = disk_layout();
  auto answer = admit_by_disk(events.size(), Block::bytes_for(events, layout));
  if (const Admit* const refusal = std::get_if<Admit>(&answer)) return *refusal;
  Block::Owner block = Block::make(memory_, events, std::get<Ticket>(std::move(answer)), layout);

  if (is_queued && !block->ticket().passes()) {
    if (const std::optional<Admit> straight = take_straight(block, receipt)) return *straight;
  } else {
    disked_->feeder.expect_commit(1);
  }
  return commit(std::move(block), receipt);
}

Block::Layout Tracker::Engine::disk_layout() const noexcept {
  return {.frame = journal::kEventFrame, .own_marks = false, .watched = options_.ack == Ack::queued};
}

// Into the window, unless a backlog is to be fed to it first: what comes behind a backlog joins it on disk, and must
// not take the room that the feeder needs. Where the disk takes what memory does not, so does what finds no room there.
Tracker::Engine::Answer Tracker::Engine::admit_by_disk(std::size_t events, std::size_t bytes) {
  const bool rejects = options_.overflow == Overflow::reject;
  // Also while there is a backlog: what is too large for the window stays too large.
  if (rejects && (events > door_.event_limit() || bytes > door_.window_bytes())) return Admit::too_large;
  if (disked_->journal.caught_up()) {
    auto answer = door_.try_admit(events, bytes);
    const Admit* const refusal = std::get_if<Admit>(&answer);
    if (refusal == nullptr || *refusal == Admit::closed || rejects) return answer;
  }
  return door_.try_pass(events, bytes);
}

// No answer: others are on disk before him, and he is expected at the committer.
std::optional<Admit> Tracker::Engine::take_straight(Block::Owner& block, const Receipt& receipt) {
  const std::size_t events = block->count();
  EventId first;
  switch (disked_->feeder.try_straight(block, unrecorded_, first)) {
    case backlog::Feeder::Straight::done:
      return accept(first, events, receipt);
    case backlog::Feeder::Straight::closed:
      return Admit::closed;
    case backlog::Feeder::Straight::no_memory:
      return Admit::full;
    case backlog::Feeder::Straight::behind:
      break;
  }
  return std::nullopt;
}

// Hands over the block of who is expected at the committer, if the journal has room; then the committer tells the
// receipt.
Admit Tracker::Engine::commit(Block::Owner block, const Receipt& receipt) {
  const std::size_t events = block->count();
  const std::uint64_t cost = journal::Journal::cost(block->body().size(), events);
  const auto room = disked_->journal.failed() ? journal::Journal::Room::full : disked_->journal.try_reserve(cost);
  if (room != journal::Journal::Room::reserved) {
    disked_->feeder.gave_up(1);
    if (disked_->journal.failed()) return Admit::failed;
    return room == journal::Journal::Room::never ? Admit::too_large : Admit::full;
  }
  try {
    backlog::Committer::Told told = [this, receipt, events](bool committed, const EventId& first, const EventId& last) {
      if (!committed) unknown_.fetch_add(events);
      if (receipt) receipt({committed ? Admit::accepted : Admit::failed, first, last});
    };
    disked_->committer.submit({.block = std::move(block), .reserved = cost, .told = std::move(told)});
  } catch (...) {  // no memory: nothing was handed over
    block.reset();
    disked_->journal.give_back(cost);
    disked_->feeder.gave_up(1);
    throw;
  }
  return Admit::accepted;
}

// ---- waiting, where there is a disk

// For room until the deadline, then for what becomes of it. Room is wanted in memory and on disk at once, so nobody who
// gives one of them back can tell whether it is enough: at each change we look, and ask only if it seems so.
Admit Tracker::Engine::take_and_wait(std::span<const Event> events, Deadline deadline) {
  const auto waiter = std::make_shared<Waiter>();  // owners: we, and the receipt
  const auto tell = [waiter](const Outcome& outcome) { waiter->tell(outcome); };
  std::optional<Admission::Watch> watch;
  for (bool in_time = std::chrono::steady_clock::now() < deadline;;) {
    const Admit admit = take(events, tell);
    if (admit == Admit::accepted) {
      watch.reset();
      return waiter->wait(abandoned_);
    }
    if (admit != Admit::full || !in_time) return counted(admit, events.size());
    // Others may be quicker each time, or memory be short: then we do not ask more often than this.
    std::this_thread::sleep_until(std::min(deadline, std::chrono::steady_clock::now() + milliseconds{1}));
    if (!watch) watch.emplace(door_);
    for (std::uint64_t seen = watch->changes(); in_time && !may_take_by_disk(events); seen = watch->changes()) {
      in_time = watch->wait_change(seen, deadline);
    }
    in_time = in_time && std::chrono::steady_clock::now() < deadline;
  }
}

// Whether take_by_disk() would say anything but `full` at this moment.
bool Tracker::Engine::may_take_by_disk(std::span<const Event> events) {
  const bool is_queued = options_.ack == Ack::queued;
  const bool failed = disked_->journal.failed();
  if (door_.closed() || (failed && !is_queued)) return true;
  const std::size_t bytes = Block::bytes_for(events, disk_layout());
  const bool caught_up = disked_->journal.caught_up();
  const bool window = caught_up && door_.has_room(events.size(), bytes);
  if (window && is_queued && !disked_->feeder.is_behind()) return true;
  const bool passage = (!caught_up || options_.overflow == Overflow::disk) && door_.has_passage(bytes);
  if (!window && !passage) return false;
  if (failed) return true;
  const std::size_t body = Block::body_bytes_for(events, disk_layout());
  return disked_->journal.has_room(journal::Journal::cost(body, events.size()));
}

}  // namespace sluice
