// See the header. The thread waits for a backlog, then for room, then brings one block.
#include "backlog/feeder.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "backlog/block_records.h"

namespace sluice::backlog {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostEvents = 1024;
constexpr std::size_t kMostBytes = std::size_t{256} << 10U;

}  // namespace

Feeder::Feeder(journal::Journal& journal, EventQueue& queue, Admission& door, BlockMemory& memory,
               const journal::Pace& pace, Hooks hooks)
    : journal_(journal),
      queue_(queue),
      door_(door),
      memory_(memory),
      buffers_(buffers_of(memory)),
      pace_(pace),
      hooks_(std::move(hooks)) {}

Feeder::~Feeder() {
  if (thread_.joinable()) thread_.detach();
}

void Feeder::run(std::shared_ptr<const void> keeps_alive) {
  thread_ = std::jthread([this, alive = std::move(keeps_alive)] {
    ::pthread_setname_np(::pthread_self(), "feeder");
    bring_all();
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  });
}

Feeder::Straight Feeder::try_straight(Block::Owner& block, Unrecorded& unrecorded, EventId& first) {
  const std::lock_guard lock(feed_mutex_);
  if (straight_ends_ || expected_.load() > 0 || !journal_.caught_up()) {
    expected_.fetch_add(1);
    return Straight::behind;
  }
  // Watched under this lock, before a worker can finish some of it, and numbered before anybody looks for watched
  // blocks.
  Block& known = *block;
  const std::size_t count = known.count();
  unrecorded.watch(known);
  known.ticket().hand_over_events();
  const EventQueue::Push pushed = queue_.push(block, first);
  if (pushed == EventQueue::Push::done) return Straight::done;
  unrecorded.unwatch(known);
  door_.give_back_events(count);
  return pushed == EventQueue::Push::closed ? Straight::closed : Straight::no_memory;
}

void Feeder::end_straight() {
  const std::lock_guard lock(feed_mutex_);
  straight_ends_ = true;
}

void Feeder::committed(std::span<Block::Owner> blocks, const journal::Journal::Place& place) {
  bool backlog = false;
  {
    const std::lock_guard lock(feed_mutex_);
    bool straight = journal_.cursor_at(place.segment, place.begin);
    for (std::size_t i = 0; i < blocks.size() && straight; ++i) {
      Block::Owner& block = blocks[i];
      straight = !block->ticket().passes() || door_.try_move_in(block->ticket());
      if (!straight) break;
      const std::uint64_t count = block->count();
      const std::uint64_t last = block->first_sequence() + count - 1;
      block->ticket().hand_over_events();
      if (queue_.push_with_ids(block) != EventQueue::Push::done) {
        // Closed, or no memory: it stays on disk, and its ticket is given back as if it had never moved in.
        door_.give_back_events(count);
        straight = false;
        break;
      }
      journal_.fed_from_memory(i + 1 == blocks.size() ? place.end : place.ends[i], count, last);
    }
    journal_.show(place);
    backlog = !straight;
    expected_.fetch_sub(blocks.size());
  }
  if (backlog) wake();
}

void Feeder::wake() {
  const std::lock_guard lock(mutex_);
  awake_ = true;
  changed_.notify_all();
}

void Feeder::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

bool Feeder::join(Clock::time_point until) {
  if (!thread_.joinable()) return true;
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, until, [this] { return ended_; })) {
      thread_.detach();  // a disk that does not answer keeps it
      return false;
    }
  }
  thread_.join();
  return true;
}

void Feeder::rest(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, at_most, [this] { return stopping_; });
}

void Feeder::bring_all() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return awake_ || stopping_; });
      if (stopping_) return;
      awake_ = false;
    }
    while (bring()) {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
  }
}

// Brings one block from the backlog to the queue; waits for room. False: no backlog, or the stop has begun.
bool Feeder::bring() {
  // A quarter of the window at a time, so that workers are busy while the next one is read.
  const std::size_t most = std::clamp<std::size_t>(door_.event_limit() / 4, 1, kMostEvents);
  const std::size_t bytes = std::clamp<std::size_t>(door_.window_bytes() / 8, 4096, kMostBytes);
  backlog_.lost = 0;
  journal_.read_backlog(most, bytes, buffers_, backlog_);
  if (backlog_.lost > 0) {
    hooks_.lost(backlog_.lost);
    hooks_.log(LogLevel::error, fmt::format("events are lost, the disk has damaged them events={}", backlog_.lost));
  }
  if (backlog_.error) {
    hooks_.log(LogLevel::error, fmt::format("the journal cannot be read, trying again segment={}: {}",
                                            journal::segment_name(backlog_.segment), backlog_.error.message()));
    rest(pace_.unreadable);
    return true;
  }
  if (backlog_.events.empty()) return false;

  std::vector<Event> events;
  events.reserve(backlog_.events.size());
  for (const journal::Record& event : backlog_.events) events.emplace_back(event.payload, event.content_type);
  const Block::Layout layout{.own_marks = true};
  // Adopt the read buffer; copy out if events fill less than 3/4 of it, since they would pin the rest and it would be
  // read once more, or if the buffer exceeds the window.
  const std::size_t read_to = journal_.backlog_memory_bytes();
  const std::size_t all_of_it = Block::bytes_for_adopted(read_to, events.size(), layout);
  const bool adopts = backlog_.bytes >= read_to / 4 * 3 && all_of_it <= door_.window_bytes();
  const std::size_t charge = adopts ? all_of_it : Block::bytes_for(events, layout);
  auto answer = door_.try_admit(events.size(), charge);
  while (const Admit* const refusal = std::get_if<Admit>(&answer)) {
    if (*refusal == Admit::closed) return false;
    if (*refusal == Admit::too_large) {  // from a run with a larger window
      if (door_.window_events_out() == 0) {
        answer = door_.admit_beyond(events.size(), charge);
      } else {
        rest(std::chrono::milliseconds{5});
      }
    } else {
      answer = door_.wait_admit(events.size(), charge, Clock::now() + std::chrono::milliseconds{100});
    }
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
  }
  Ticket ticket = std::get<Ticket>(std::move(answer));
  Block::Owner block = adopts ? Block::adopt(memory_, piece_of(memory_, journal_.take_backlog_memory(), read_to),
                                             events, std::move(ticket), layout)
                              : Block::make(memory_, events, std::move(ticket), layout);
  block->assign_ids(backlog_.run, backlog_.events.front().sequence);
  for (std::uint32_t i = 0; i < block->count(); ++i) {
    block->mark(i, backlog_.events[i].sequence, backlog_.events[i].received);
  }
  block->set_segment(backlog_.segment);
  const std::size_t count = block->count();
  block->ticket().hand_over_events();
  const std::lock_guard lock(feed_mutex_);
  if (queue_.push_with_ids(block) != EventQueue::Push::done) {
    block.reset();
    door_.give_back_events(count);
    return false;
  }
  journal_.fed_backlog(backlog_);
  return true;
}

}  // namespace sluice::backlog
