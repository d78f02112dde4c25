// The answers that the committer owes: a request that was handed over has a slot until its receipt has come, and a
// connection a queue of them, in which its answers keep the order of its requests. All of it belongs to one loop's
// thread but for Slot::tell(), which is the receipt. It refuses to hold more than the server's budget has room for.
//
// The committer calls many receipts in a row after one commit. Each only fills its slot and puts it on the list of its
// loop; the first one there wakes the loop, which then answers, with one turn for each connection, until it finds the
// list empty and sleeps. A receipt that is called before track() is back, as under Ack::queued, is told and answered in
// that same turn, and costs no more than a slot taken from the spare ones and put back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>

#include "http/answers.h"
#include "http/budget.h"
#include "http/event_loop.h"
#include "sluice/tracker.h"

namespace sluiced::http {

class AnswerQueue;
class Connection;
class Slots;

struct ToldLink {
  ToldLink* next_told = nullptr;
};

// One request that was handed over. Outlives its connection, if it must.
struct Slot : ToldLink {
  Slot(Slots& of, Budget& budget) noexcept : home(of), text(budget) {}

  // The receipt: once, on the loop's thread from within track(), or on any other whenever it likes. Does not throw,
  // allocate or wait; wakes the loop if it sleeps.
  void tell(const sluice::Outcome& how) noexcept;
  // Fits into the room that a std::function has of its own.
  [[nodiscard]] sluice::Receipt receipt() noexcept {
    return [this](const sluice::Outcome& how) { tell(how); };
  }

  Slots& home;
  sluice::Outcome outcome;  // written by tell(), read once `told`
  bool told = false;        // as far as the loop has heard

  std::size_t events = 0;  // of the request
  Ending ending;

  AnswerQueue* queue = nullptr;  // null: in none, or its connection is gone
  Slot* next = nullptr;          // in the queue, or among the spare ones
  ChargedBytes text;             // answers that were given at once, and have to wait behind this one
  std::uint32_t answers = 0;     // how many those are
};

// All slots of one loop.
class Slots {
 public:
  // Wakes the loop; both outlive it.
  Slots(Budget& budget, EventLoop& loop) noexcept : budget_(budget), loop_(loop) {}
  // Every receipt must have come, and whoever called the last one must be done with it.
  ~Slots();
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  // From here this is the thread whose receipts come from within track(). Before the first slot is handed over.
  void belong_to_this_thread() noexcept { owner_ = std::this_thread::get_id(); }

  // A slot that is put back when it is let go. Null: the budget has no room.
  struct PutBack {
    void operator()(Slot* slot) const noexcept { slot->home.put_back(*slot); }
  };
  using Hold = std::unique_ptr<Slot, PutBack>;
  [[nodiscard]] Hold try_hold() noexcept;

  // The loop is woken when there is something to take. It takes until nothing is left, then sleeps; or wakes itself, to
  // do something else first. While it is awake no receipt wakes it.
  [[nodiscard]] bool asleep() const noexcept { return told_.load() == nullptr; }
  void wake() const noexcept { loop_.wake(); }
  [[nodiscard]] bool try_sleep() noexcept;  // false: there is something to take

  // Hears all receipts that have come: of the slots that are told by them, those that are the first of their queues,
  // linked by next_told. So each connection that has something to write is there once.
  [[nodiscard]] ToldLink* take_told() noexcept;

 private:
  friend struct Slot;
  friend class AnswerQueue;

  void put_back(Slot& slot) noexcept;
  void add_told(Slot& slot) noexcept;  // any thread

  Budget& budget_;
  EventLoop& loop_;
  std::thread::id owner_;
  Slot* spare_ = nullptr;
  std::size_t spares_ = 0;
  std::size_t out_ = 0;  // slots that are held or queued, or whose receipt has not been heard

  // The newest slot whose receipt has come. Empty it is null while the loop sleeps, and &awake_ while it does not.
  std::atomic<ToldLink*> told_{nullptr};
  ToldLink awake_;
};

// The answers of one connection from the first that the committer owes.
class AnswerQueue {
 public:
  explicit AnswerQueue(Connection& connection) noexcept : connection_(connection) {}
  ~AnswerQueue() { abandon(); }
  AnswerQueue(const AnswerQueue&) = delete;
  AnswerQueue& operator=(const AnswerQueue&) = delete;

  void push(Slots::Hold slot) noexcept;
  // Behind the last slot: bytes that are so many answers. False: no room, and nothing changed. Not while empty.
  [[nodiscard]] bool try_add(std::string_view text, std::uint32_t answers) noexcept;

  // The first slot if it is told, else null; it stays there until pop().
  [[nodiscard]] Slot* told() noexcept { return first_ != nullptr && first_->told ? first_ : nullptr; }
  void pop() noexcept;
  void abandon() noexcept;  // nobody waits for them any more

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] bool is_first(const Slot& slot) const noexcept { return first_ == &slot; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::uint32_t answers() const noexcept { return slots_ + answers_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }  // of the answers that are known
  [[nodiscard]] Connection& connection() const noexcept { return connection_; }

 private:
  Connection& connection_;
  Slot* first_ = nullptr;
  Slot* last_ = nullptr;
  std::uint32_t slots_ = 0;
  std::uint32_t answers_ = 0;  // those that wait behind slots
  std::size_t bytes_ = 0;
};

}  // namespace sluiced::http
