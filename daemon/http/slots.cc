// Slots: from the loop to the committer and back, and the order of a connection's answers. Its loop's thread, but for
// tell() and what it calls. The list of told slots is a stack that is only ever taken whole, so it has no ABA.
#include "http/slots.h"

#include <cassert>
#include <new>
#include <utility>

namespace sluiced::http {
namespace {

constexpr std::size_t kSpares = 64;  // kept, and charged: 10 KiB a loop

}  // namespace

// ---- a receipt, on the committer's thread

void Slot::tell(const sluice::Outcome& how) noexcept {
  outcome = how;
  // The loop's own thread calls receipts from within track() only.
  if (home.owner_ == std::this_thread::get_id()) {
    told = true;
  } else {
    home.add_told(*this);
  }
}

// Once the slot is on the list of a loop that is awake, it may be answered and gone: nothing of it is touched then. A
// loop that sleeps is still there to be woken.
void Slots::add_told(Slot& slot) noexcept {
  ToldLink* newest = told_.load();
  do {
    slot.next_told = newest;
  } while (!told_.compare_exchange_weak(newest, &slot));
  if (newest == nullptr) wake();
}

// ---- the loop's side

Slots::~Slots() {
  (void)take_told();  // receipts that came after the loop's last turn
  assert(out_ == 0 && "a server ended before the receipts of all that it handed over");
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
  slot.told = false;
  slot.queue = nullptr;
  slot.text.release();
  slot.answers = 0;
  slot.next = std::exchange(spare_, &slot);
  ++spares_;
}

bool Slots::try_sleep() noexcept {
  ToldLink* empty = &awake_;
  return told_.compare_exchange_strong(empty, nullptr);
}

ToldLink* Slots::take_told() noexcept {
  ToldLink* first = nullptr;
  ToldLink* next = told_.exchange(&awake_);
  while (next != nullptr && next != &awake_) {
    Slot& slot = static_cast<Slot&>(*next);
    next = slot.next_told;
    slot.told = true;
    if (slot.queue == nullptr) {
      put_back(slot);
    } else if (slot.queue->is_first(slot)) {
      slot.next_told = std::exchange(first, &slot);  // newest first came in, oldest first goes out
    }
  }
  return first;
}

// ---- a connection's answers

void AnswerQueue::push(Slots::Hold held) noexcept {
  Slot* const slot = held.release();
  slot->queue = this;
  slot->next = nullptr;
  (first_ == nullptr ? first_ : last_->next) = slot;
  last_ = slot;
  ++slots_;
}

bool AnswerQueue::try_add(std::string_view text, std::uint32_t answers) noexcept {
  assert(last_ != nullptr && "an answer waits behind nothing");
  if (!last_->text.try_append(text)) return false;
  last_->answers += answers;
  answers_ += answers;
  bytes_ += text.size();
  return true;
}

void AnswerQueue::pop() noexcept {
  Slot& slot = *first_;
  first_ = slot.next;
  if (first_ == nullptr) last_ = nullptr;
  --slots_;
  answers_ -= slot.answers;
  bytes_ -= slot.text.size();
  if (slot.told) return slot.home.put_back(slot);
  slot.queue = nullptr;  // put back when its receipt has come
  slot.text.release();
}

void AnswerQueue::abandon() noexcept {
  while (!empty()) pop();
}

}  // namespace sluiced::http
