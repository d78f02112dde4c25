// Records how much of a shared file is on disk, for several sinks that write to it. A sync covers every batch written
// before it, and so does a failed sync: the system reports the error once and marks the lost pages clean, so a second
// try would succeed. Guarded by its owner's lock.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace sluice {

class SyncBook {
 public:
  // The batches of one sink since its last sync, by number from 1.
  struct Batches {
    std::uint64_t first = 0, last = 0;

    [[nodiscard]] bool empty() const noexcept { return first == 0; }
    void add(std::uint64_t number) noexcept {
      if (first == 0) first = number;
      last = number;
    }
  };

  // Counts a written batch, and returns its number.
  [[nodiscard]] std::uint64_t add() noexcept { return ++written_; }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

  // True if some of these need a sync; false if the outcome for all of them is known.
  [[nodiscard]] bool needs_sync(const Batches& some) const noexcept {
    return failed_ < some.first && synced_ < some.last;
  }
  // The result of a sync: it succeeded, and so many were written when it began; or it failed.
  void synced(std::uint64_t written) noexcept { synced_ = written; }
  void failed(std::string reason) {
    failed_ = written_;
    reason_ = std::move(reason);
  }
  // Why some of these may be lost; empty if all are on disk.
  [[nodiscard]] std::string failure_of(const Batches& some) const { return failed_ < some.first ? "" : reason_; }

 private:
  std::uint64_t written_ = 0, synced_ = 0;
  std::uint64_t failed_ = 0;  // the last batch that a failed sync covered
  std::string reason_;        // of the last failure
};

}  // namespace sluice
