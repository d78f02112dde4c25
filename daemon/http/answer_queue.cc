// A list of slots, linked through themselves. Thread: see the header.
#include "http/answer_queue.h"

#include <cassert>
#include <utility>

namespace sluiced::http {

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
  if (slot.completed) return slot.home.put_back(slot);
  slot.queue = nullptr;  // put back when it is completed
  slot.text.release();
}

void AnswerQueue::abandon() noexcept {
  while (!empty()) pop();
}

}  // namespace sluiced::http
