// The way in, on the producers' threads. In memory: ticket, block, queue. With a disk: ticket, block, and then either
// straight to the queue (a record may follow later) or journal space and the committer. It owns the counts of refused
// events. It refuses what is too large, and everything while there is no space, admission is closed or the disk has
// failed; then nothing was taken.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "admission/admission.h"
#include "backlog/unrecorded.h"
#include "queue/block.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "sluice/deadline.h"
#include "sluice/metrics.h"
#include "sluice/options.h"
#include "sluice/tracker.h"
#include "tracker/disked.h"

namespace sluice {

class Intake {
 public:
  // All of them outlive the intake. `disked` may still be empty; it is constant once a producer calls.
  Intake(const Options& options, Admission& door, BlockMemory& memory, EventQueue& queue,
         backlog::Unrecorded& unrecorded, std::optional<Disked>& disked) noexcept
      : options_(options), door_(door), memory_(memory), queue_(queue), unrecorded_(unrecorded), disked_(disked) {}

  // As in the tracker.
  [[nodiscard]] Admit track(std::span<const Event> events);
  [[nodiscard]] Submission track(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Admit wait_track(std::span<const Event> events, Deadline deadline);

  // The committer was left behind: requests that wait for it are answered `failed`.
  void abandon() noexcept { abandoned_.store(true); }

  [[nodiscard]] Refused refused() const noexcept;

 private:
  using Answer = std::variant<Ticket, Admit>;
  [[nodiscard]] bool fits(std::span<const Event> events) const noexcept;
  [[nodiscard]] Admit take(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Admit take_in_memory(std::span<const Event> events, Answer&& answer, const Receipt& receipt);
  [[nodiscard]] Admit take_by_disk(std::span<const Event> events, const Receipt& receipt);
  [[nodiscard]] Answer admit_by_disk(std::size_t events, std::size_t bytes);
  [[nodiscard]] std::optional<Admit> take_straight(Block::Owner& block, const Receipt& receipt);
  [[nodiscard]] Admit commit(Block::Owner block, const Receipt& receipt);
  [[nodiscard]] Admit take_and_wait(std::span<const Event> events, Deadline deadline);
  [[nodiscard]] bool may_take_by_disk(std::span<const Event> events);
  [[nodiscard]] Block::Layout disk_layout() const noexcept;
  Admit counted(Admit answer, std::size_t events) noexcept;

  const Options& options_;
  Admission& door_;
  BlockMemory& memory_;
  EventQueue& queue_;
  backlog::Unrecorded& unrecorded_;
  std::optional<Disked>& disked_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Admit::failed) + 1> refused_{};  // events, by answer
  std::atomic<std::uint64_t> unknown_{0};  // of requests during which the disk failed
  std::atomic<bool> abandoned_{false};     // never returns to false
};

}  // namespace sluice
