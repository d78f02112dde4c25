// The bytes of disk that the journal may use (--journal-bytes), and how many it has taken. Room is reserved before an
// event is accepted, for its record and its settle mark, so that neither can fail for want of room later.
// Producers reserve and give back; the committer charges segments. Atomics only, no lock.
// It refuses a limit that is too small for the queue (StartError).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "journal/config.h"
#include "journal/format.h"
#include "journal/segment.h"

namespace sluice::journal {

class Budget {
 public:
  explicit Budget(const Config& config);
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // ---- any thread
  enum class Room : std::uint8_t { reserved, full, never };
  [[nodiscard]] Room try_reserve(std::uint64_t bytes) noexcept;
  // Whether try_reserve() would succeed at this moment.
  [[nodiscard]] bool has_room(std::uint64_t bytes) const noexcept;
  void give_back(std::uint64_t bytes) noexcept { taken_.fetch_sub(bytes); }
  // What to reserve for a request.
  [[nodiscard]] static std::uint64_t cost(std::size_t body_bytes, std::size_t events) noexcept {
    return body_bytes + events * kSettleBytes + 2 * kCommitFrame;
  }
  // Bytes that count against new events but belong to no segment: the dead letters.
  void charge_others(std::uint64_t bytes) noexcept { others_.store(bytes); }
  [[nodiscard]] std::uint64_t others() const noexcept { return others_.load(); }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_.load(); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return taken() + others(); }

  [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return segment_bytes_; }
  // What segments may use: a new segment and a spill must still fit.
  [[nodiscard]] std::uint64_t usable_bytes() const noexcept { return usable_bytes_; }
  // How many segments a journal of this limit has at a time. More than full ones, because a segment that begins on a
  // nearly full disk is small. Short runs leave two small segments each: of those Config::most_left more may exist;
  // then nothing is accepted until one is removed. A start that finds so many begins one more.
  [[nodiscard]] static std::size_t most_segments(std::uint64_t limit_bytes) noexcept;
  [[nodiscard]] bool has_all_segments() const noexcept { return segments() >= most_segments_; }
  [[nodiscard]] std::size_t segments() const noexcept { return count_.load(); }

  // ---- the committer's thread
  void charge(Segment& segment, std::uint64_t bytes) noexcept;
  void charge_new(Segment& segment) noexcept;
  // At least what its files take on the disk, even if less of that was used.
  void charge_physical(Segment& segment) noexcept;
  // The reserved bytes of a commit become its segment's; `padding` was not reserved.
  void charge_commit(Segment& segment, std::uint64_t reserved, std::uint64_t padding) noexcept;
  void set_segments(std::size_t count) noexcept { count_.store(count); }

  // A producer was refused for want of room since the last take_pressed().
  [[nodiscard]] bool take_pressed() noexcept { return pressed_.exchange(false); }
  void press() noexcept { pressed_.store(true); }

 private:
  [[nodiscard]] bool has_room_for(std::uint64_t taken, std::uint64_t bytes) const noexcept;

  const std::uint64_t segment_bytes_;
  const std::uint64_t usable_bytes_;
  const std::size_t most_segments_;
  std::atomic<std::uint64_t> taken_{0};  // of segments, the larger of charged and physical; and reservations
  std::atomic<std::size_t> count_{0};    // of segments
  std::atomic<std::uint64_t> others_{0};
  std::atomic<bool> pressed_{false};
};

}  // namespace sluice::journal
