// Events that a sink has refused for good: appended to the dead-letter file by the workers; requeued or dropped on
// request, on the caller's thread. Without a state directory nothing is kept: refused events are only counted and
// logged.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <system_error>

#include "sinks/dead_letter_file.h"
#include "sluice/host.h"
#include "tracker/disked.h"
#include "workers/pool.h"

namespace sluice {

class DeadLetters {
 public:
  // `disked` outlives this; it may still be empty, and is constant once a worker calls.
  DeadLetters(const std::optional<std::filesystem::path>& state_dir, std::optional<Disked>& disked);

  // Keeps the events aside, durably, all or none.
  [[nodiscard]] std::error_code bury(std::span<const DeadLetter> letters);

  // As in sluice/host.h.
  [[nodiscard]] DeadLettersMoved requeue(std::size_t at_most, const DeadLetterFile::Take& take);
  [[nodiscard]] DeadLettersMoved drop(std::size_t at_most);

  // Dead letters count against the journal's limit, and may exceed it.
  void charge();

 private:
  std::optional<DeadLetterFile> file_;  // nothing without a state directory
  std::filesystem::path path_;
  std::optional<Disked>& disked_;
};

}  // namespace sluice
