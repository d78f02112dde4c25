// How far what several sinks have written into one place is on disk. A sync is everybody's who wrote before it; and so
// is one that fails: the system tells of it once, calls what was lost clean, and a second try would succeed. Guarded by
// its owner's lock.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace sluice {

class SyncBook {
 public:
  // The batches of one sink since it asked last, by number from 1.
  struct Batches {
    std::uint64_t first = 0, last = 0;

    [[nodiscard]] bool empty() const noexcept { return first == 0; }
    void add(std::uint64_t number) noexcept {
      if (first == 0) first = number;
      last = number;
    }
  };

  // A batch was written: its number.
  [[nodiscard]] std::uint64_t add() noexcept { return ++written_; }
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

  // Whether these need a sync, or their fate is known.
  [[nodiscard]] bool is_open(const Batches& some) const noexcept { return failed_ < some.first && synced_ < some.last; }
  // A sync has succeeded that was begun when so many were written; or has failed.
  void synced(std::uint64_t written) noexcept { synced_ = written; }
  void failed(std::string reason) {
    failed_ = written_;
    reason_ = std::move(reason);
  }
  // Why some of these may be on no disk; empty: they are.
  [[nodiscard]] std::string failure_of(const Batches& some) const { return failed_ < some.first ? "" : reason_; }

 private:
  std::uint64_t written_ = 0, synced_ = 0;
  std::uint64_t failed_ = 0;  // up to this one
  std::string reason_;        // the last failure's
};

}  // namespace sluice
