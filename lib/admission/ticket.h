// A ticket: permission for n events and b bytes to be inside. Holding a ticket IS being admitted; its destructor gives
// back what is left in it. Events and bytes may return separately: a block keeps the bytes until it is freed, while its
// events return one by one. One thread at a time; it does not outlive its door.
#pragma once

#include <cstddef>
#include <utility>

namespace sluice {

class Admission;

class Ticket {
 public:
  Ticket() = default;  // holds nothing
  Ticket(Ticket&& other) noexcept
      : door_(std::exchange(other.door_, nullptr)),
        events_(std::exchange(other.events_, 0)),
        bytes_(std::exchange(other.bytes_, 0)),
        passes_(std::exchange(other.passes_, false)) {}
  Ticket& operator=(Ticket&& other) noexcept;
  ~Ticket() {
    if (door_ != nullptr) give_back();
  }

  [[nodiscard]] std::size_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  // It is in the passage, not in the window: see Admission::try_pass.
  [[nodiscard]] bool passes() const noexcept { return passes_; }

  // Merges a ticket of the same door into this one, so that both are given back in one step. A ticket in the passage is
  // given back at once instead: this one is in the window.
  void absorb(Ticket other) noexcept {
    if (other.passes_) return;
    if (door_ == nullptr) door_ = other.door_;
    events_ += std::exchange(other.events_, 0);
    bytes_ += std::exchange(other.bytes_, 0);
    other.door_ = nullptr;
  }

  // From here the events return by Admission::give_back_events, the bytes still with this ticket.
  void hand_over_events() noexcept { events_ = 0; }
  // Gives back the events now; the bytes stay.
  void give_back_events() noexcept;

 private:
  friend class Admission;
  Ticket(Admission& door, std::size_t events, std::size_t bytes, bool passes = false) noexcept
      : door_(&door), events_(events), bytes_(bytes), passes_(passes) {}
  void give_back() noexcept;

  Admission* door_ = nullptr;
  std::size_t events_ = 0;
  std::size_t bytes_ = 0;
  bool passes_ = false;
};

}  // namespace sluice
