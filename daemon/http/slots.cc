// Slots: from an io thread to the committer and back. Its io thread, but for complete() and add_completed(). The list
// of completed slots is a stack that is only taken whole, so it has no ABA.
#include "http/slots.h"

#include <cassert>
#include <new>
#include <utility>

#include "http/answer_queue.h"

namespace sluiced::http {
namespace {

constexpr std::size_t kSpares = 64;  // kept, and charged: 10 KiB a thread

}  // namespace

// ---- a completion, on the committer's thread

void Slot::complete(const sluice::Outcome& how) noexcept {
  outcome = how;
  // The io thread itself completes slots only from within track().
  if (home.owner_ == std::this_thread::get_id()) {
    completed = true;
  } else {
    home.add_completed(*this);
  }
}

// Once the slot is on the list of a thread that is awake, it may be answered and destroyed: do not touch it then. A
// thread that sleeps still exists, to be woken.
void Slots::add_completed(Slot& slot) noexcept {
  CompletedLink* newest = completed_.load();
  do {
    slot.next_completed = newest;
  } while (!completed_.compare_exchange_weak(newest, &slot));
  if (newest == nullptr) wake();
}

// ---- the io thread's side

Slots::~Slots() {
  (void)take_completed();  // those completed after the thread's last turn
  assert(out_ == 0 && "a server ended before all that it handed over was completed");
  while (spare_ != nullptr) {
    delete std::exchange(spare_, spare_->next);
    budget_.give_back(sizeof(Slot));
  }
}

Slots::Hold Slots::try_hold() noexcept {
  Slot* slot = spare_;
  if (slot != nullptr) {
    spare_ = std::exchange(slot->next, nullptr);
    --spares_;
  } else {
    if (!budget_.try_charge(sizeof(Slot))) return nullptr;
    slot = new (std::nothrow) Slot(*this, budget_);
    if (slot == nullptr) {
      budget_.give_back(sizeof(Slot));
      return nullptr;
    }
  }
  ++out_;
  return Hold(slot);
}

void Slots::put_back(Slot& slot) noexcept {
  --out_;
  if (spares_ == kSpares) {
    delete &slot;
    budget_.give_back(sizeof(Slot));
    return;
  }
  slot.completed = false;
  slot.queue = nullptr;
  slot.text.release();
  slot.answers = 0;
  slot.next = std::exchange(spare_, &slot);
  ++spares_;
}

bool Slots::try_sleep() noexcept {
  CompletedLink* empty = &awake_;
  return completed_.compare_exchange_strong(empty, nullptr);
}

CompletedLink* Slots::take_completed() noexcept {
  CompletedLink* first = nullptr;
  CompletedLink* next = completed_.exchange(&awake_);
  while (next != nullptr && next != &awake_) {
    Slot& slot = static_cast<Slot&>(*next);
    next = slot.next_completed;
    slot.completed = true;
    if (slot.queue == nullptr) {
      put_back(slot);
    } else if (slot.queue->is_first(slot)) {
      slot.next_completed = std::exchange(first, &slot);  // newest first came in, oldest first goes out
    }
  }
  return first;
}

}  // namespace sluiced::http
