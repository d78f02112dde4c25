// The books, and what else there is to see. Any thread, while all others go on; the books a signal handler too. Nothing
// is refused, and nothing is changed.
#include <algorithm>

#include "tracker/engine.h"

namespace sluice {

// Never more finished than accepted: an event is counted as accepted before a worker can see it, and whoever finishes
// it counts it after that; all counters only grow; so with what is finished read first, `accepted` covers it. Nor is
// `kept` more than was ever kept: if nothing was finished while `accepted` was read, both are of that one instant. A
// few looks find such an instant even under load; if not, what came between counts as kept, and the sum still holds.
Books Tracker::Engine::books() const noexcept { return less(finished_books(), written_off_.load()); }

// Whichever is more: what a stop has written off is no longer in `unrecorded_` once its blocks are gone, and what it
// has not written off yet is only there. So it counts once at every instant, also during the account.
Books Tracker::Engine::books_at_exit() const noexcept {
  const Books books = finished_books();
  return less(books, std::max(written_off_.load(), on_no_disk(books)));
}

// So many of the kept are lost.
Books Tracker::Engine::less(Books books, std::uint64_t lost) noexcept {
  lost = std::min(lost, books.kept);
  books.lost += lost;
  books.kept -= lost;
  return books;
}

// But for what a stop has written off.
Books Tracker::Engine::finished_books() const noexcept {
  constexpr int kLooks = 32;
  Ledger::Finished finished = ledger_.finished();
  for (int look = 1;; ++look) {
    const std::uint64_t accepted = queue_.accepted() + ledger_.accepted();
    const Ledger::Finished after = ledger_.finished();
    if (after == finished || look == kLooks) return Ledger::books(finished, accepted, ledger_.replayed());
    finished = after;
  }
}

// Of what is kept, that which no disk holds.
std::uint64_t Tracker::Engine::on_no_disk(const Books& books) const noexcept {
  if (!disked_) return books.kept;
  return std::min(books.kept, unrecorded_.events() + disked_->committer.nameless());
}

Refused Tracker::Engine::refusals() const noexcept {
  const auto by = [this](Admit answer) { return refused_[static_cast<std::size_t>(answer)].load(); };
  return {.full = by(Admit::full),
          .too_large = by(Admit::too_large),
          .closed = by(Admit::closed),
          .failed = by(Admit::failed),
          .unknown = unknown_.load()};
}

bool Tracker::Engine::disk_failed() const noexcept { return disked_ && disked_->journal.failed(); }

Status Tracker::Engine::status() const {
  Status status;
  status.phase = stop_.phase();
  status.books = books();
  status.queue_events = door_.events_out();
  status.queue_bytes = door_.bytes_out();
  const Refused refused = refusals();
  status.refused_full = refused.full;
  status.refused_too_large = refused.too_large;
  status.refused_closed = refused.closed;
  if (disked_) {
    status.journal_bytes = disked_->journal.bytes();
    status.journal_unreadable = disked_->journal.unreadable_bytes();
    status.disk_failed = disked_->journal.failed();
    if (status.disk_failed) status.disk_cause = disked_->journal.cause();
  }
  pool_->show(status);
  for (const WorkerStatus& worker : status.workers) {
    if (worker.state == WorkerState::in_sink) status.in_flight += worker.events;
  }
  return status;
}

Metrics Tracker::Engine::metrics() const {
  Metrics metrics;
  metrics.books = books();
  metrics.refused = refusals();
  metrics.queue_events = door_.events_out();
  metrics.queue_bytes = door_.bytes_out();
  if (disked_) {
    metrics.journal_bytes = disked_->journal.bytes();
    metrics.journal_unreadable = disked_->journal.unreadable_bytes();
  }
  pool_->show(metrics);
  commit_time_.show(metrics.commit_seconds);
  return metrics;
}

}  // namespace sluice
