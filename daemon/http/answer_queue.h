// The answers of one connection from the first that the committer owes, in the order of their requests. Its io thread
// alone. It refuses answers for which the server's budget has no room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/slots.h"

namespace sluiced::http {

class AnswerQueue {
 public:
  explicit AnswerQueue(Connection& connection) noexcept : connection_(connection) {}
  ~AnswerQueue() { abandon(); }
  AnswerQueue(const AnswerQueue&) = delete;
  AnswerQueue& operator=(const AnswerQueue&) = delete;

  void push(Slots::Hold slot) noexcept;
  // Adds answers that wait behind the last slot: their bytes, and how many they are. False: no room, and nothing
  // changed. Not while empty.
  [[nodiscard]] bool try_add(std::string_view text, std::uint32_t answers) noexcept;

  // The first slot if it is completed, else null; it stays first until pop().
  [[nodiscard]] Slot* completed() noexcept { return first_ != nullptr && first_->completed ? first_ : nullptr; }
  void pop() noexcept;
  void abandon() noexcept;  // the connection is gone

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] bool is_first(const Slot& slot) const noexcept { return first_ == &slot; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::uint32_t answers() const noexcept { return slots_ + answers_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }  // of answers that wait behind slots
  [[nodiscard]] Connection& connection() const noexcept { return connection_; }

 private:
  Connection& connection_;
  Slot* first_ = nullptr;
  Slot* last_ = nullptr;
  std::uint32_t slots_ = 0;
  std::uint32_t answers_ = 0;  // that wait behind slots
  std::size_t bytes_ = 0;
};

}  // namespace sluiced::http
