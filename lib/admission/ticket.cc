// Giving back: bytes before events, everywhere.
#include "admission/ticket.h"

#include "admission/admission.h"

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
  // Bytes first: once the last event is back, a shutdown goes on.
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

}  // namespace sluice
