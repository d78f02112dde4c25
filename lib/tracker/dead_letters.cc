// See the header.
#include "tracker/dead_letters.h"

namespace sluice {

DeadLetters::DeadLetters(const std::optional<std::filesystem::path>& state_dir, std::optional<Disked>& disked)
    : disked_(disked) {
  if (!state_dir) return;
  file_.emplace(*state_dir);
  path_ = *state_dir / "dead-letter.ndjson";
}

std::error_code DeadLetters::bury(std::span<const DeadLetter> letters) {
  if (!file_) return {};
  const std::error_code error = file_->append(letters);
  charge();
  return error;
}

DeadLettersMoved DeadLetters::requeue(std::size_t at_most, const DeadLetterFile::Take& take) {
  if (!file_) return {.error = "there is no state directory"};
  DeadLettersMoved moved = file_->requeue(at_most, take);
  charge();
  return moved;
}

DeadLettersMoved DeadLetters::drop(std::size_t at_most) {
  if (!file_) return {.error = "there is no state directory"};
  DeadLettersMoved moved = file_->drop(at_most);
  charge();
  return moved;
}

void DeadLetters::charge() {
  if (!file_) return;
  std::error_code none;
  const auto bytes = std::filesystem::file_size(path_, none);
  if (!none) disked_->journal.charge_others(bytes);
}

}  // namespace sluice
