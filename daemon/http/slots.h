// The answers that the committer owes: a request that was handed over has a slot until it is completed, and a
// connection a queue of slots, in which its answers keep the order of its requests. All of it belongs to one io thread
// but for Slot::complete(), the completion. It refuses to hold more than the server's budget has room for.
//
// The committer completes many requests in a row after one commit. Each completion only fills its slot and puts it on
// the list of its thread; the first one on the list wakes the thread, which then answers, with one turn for each
// connection, until it finds the list empty and sleeps. A completion from within track(), as under Ack::queued, is
// answered in that same turn, and costs no more than a slot taken from the spare ones and put back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>

#include "http/answers.h"
#include "http/charged_bytes.h"
#include "http/event_loop.h"
#include "sluice/tracker.h"

namespace sluiced::http {

class AnswerQueue;
class Connection;
class Slots;

struct CompletedLink {
  CompletedLink* next_completed = nullptr;
};

// One request that was handed over. May outlive its connection.
struct Slot : CompletedLink {
  Slot(Slots& of, Budget& budget) noexcept : home(of), text(budget) {}

  // The completion: called once, on the io thread from within track(), or on any other at any time. Does not throw,
  // allocate or wait; wakes the io thread if it sleeps.
  void complete(const sluice::Outcome& how) noexcept;
  // As a callback, which fits into the room that a std::function has of its own.
  [[nodiscard]] sluice::Receipt completion() noexcept {
    return [this](const sluice::Outcome& how) { complete(how); };
  }

  Slots& home;
  sluice::Outcome outcome;  // written by complete(), read once `completed`
  bool completed = false;   // as far as the io thread knows

  std::size_t events = 0;  // of the request
  Ending ending;

  AnswerQueue* queue = nullptr;  // null: in none, or its connection is gone
  Slot* next = nullptr;          // in the queue, or among the spare slots
  ChargedBytes text;             // answers known at once that wait behind this one
  std::uint32_t answers = 0;     // how many those are
};

// All slots of one io thread.
class Slots {
 public:
  // Wakes the loop; both outlive it.
  Slots(Budget& budget, EventLoop& loop) noexcept : budget_(budget), loop_(loop) {}
  // Every slot must be completed, and the call that completed the last one must have returned.
  ~Slots();
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  // Names this thread as the one that completes slots from within track(). Before the first slot is handed over.
  void belong_to_this_thread() noexcept { owner_ = std::this_thread::get_id(); }

  // A slot that returns to the spare ones when it is dropped. Null: the budget has no room.
  struct PutBack {
    void operator()(Slot* slot) const noexcept { slot->home.put_back(*slot); }
  };
  using Hold = std::unique_ptr<Slot, PutBack>;
  [[nodiscard]] Hold try_hold() noexcept;

  // The io thread is woken when there is something to take. It takes until nothing is left, then sleeps; or wakes
  // itself, to do something else first. While it is awake no completion wakes it.
  [[nodiscard]] bool asleep() const noexcept { return completed_.load() == nullptr; }
  void wake() const noexcept { loop_.wake(); }
  [[nodiscard]] bool try_sleep() noexcept;  // false: there is something to take

  // Takes all slots that were completed since. Returns those that are the first of their queues, linked by
  // next_completed: so each connection that has something to write occurs once.
  [[nodiscard]] CompletedLink* take_completed() noexcept;

 private:
  friend struct Slot;
  friend class AnswerQueue;

  void put_back(Slot& slot) noexcept;
  void add_completed(Slot& slot) noexcept;  // any thread

  Budget& budget_;
  EventLoop& loop_;
  std::thread::id owner_;
  Slot* spare_ = nullptr;
  std::size_t spares_ = 0;
  std::size_t out_ = 0;  // slots that are held, queued or not completed

  // The slot completed last. If there is none: null while the io thread sleeps, &awake_ while it does not.
  std::atomic<CompletedLink*> completed_{nullptr};
  CompletedLink awake_;
};

}  // namespace sluiced::http
