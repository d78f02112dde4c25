// See the header for the contract.
#include "tracker/account.h"

#include <algorithm>

namespace sluice {

// Never more finished than accepted: an event is counted as accepted before a worker can see it, and as finished after
// that; all counters only grow; so with the finished ones read first, `accepted` covers them. Nor is `kept` more than
// it ever was: if nothing finished while `accepted` was read, both are of one instant. A few readings find such an
// instant even under load; if not, events that came between count as kept, and the sum still holds.
Books Account::books() const noexcept { return less(finished_books(), written_off_.load()); }

// The larger of the two: events that a stop has written off leave `unrecorded_` with their blocks, and those that it
// has not written off yet are only there. So each counts once at every instant, also while the stop counts.
Books Account::books_at_exit() const noexcept {
  const Books books = finished_books();
  return less(books, std::max(written_off_.load(), on_no_disk(books)));
}

std::uint64_t Account::write_off() noexcept {
  const std::uint64_t left = on_no_disk(books());
  written_off_.store(left);
  return left;
}

// Moves so many from kept to lost.
Books Account::less(Books books, std::uint64_t lost) noexcept {
  lost = std::min(lost, books.kept);
  books.lost += lost;
  books.kept -= lost;
  return books;
}

// Without what a stop has written off.
Books Account::finished_books() const noexcept {
  constexpr int kReadings = 32;
  Ledger::Finished finished = ledger_.finished();
  for (int reading = 1;; ++reading) {
    const std::uint64_t accepted = queue_.accepted() + ledger_.accepted();
    const Ledger::Finished after = ledger_.finished();
    if (after == finished || reading == kReadings) return Ledger::books(finished, accepted, ledger_.replayed());
    finished = after;
  }
}

// How many of the kept events no disk holds.
std::uint64_t Account::on_no_disk(const Books& books) const noexcept {
  if (!disked_) return books.kept;
  return std::min(books.kept, unrecorded_.events() + disked_->committer.nameless());
}

}  // namespace sluice
