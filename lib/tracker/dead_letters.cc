// What a sink has refused for good: kept aside by the workers, and made new events or thrown away when somebody asks
// for it, on his thread. Only with a state directory: without one there is no place to keep it, and nothing to move.
#include <filesystem>

#include "tracker/engine.h"

namespace sluice {

std::error_code Tracker::Engine::bury(std::span<const DeadLetter> letters) {
  if (!dead_letters_) return {};  // no place to store them: they are counted, and one a second is named in the log
  const std::error_code error = dead_letters_->append(letters);
  charge_dead_letters();
  return error;
}

DeadLettersMoved Tracker::Engine::requeue_dead_letters(std::size_t at_most) {
  if (!dead_letters_) return {.moved = 0, .left = 0, .error = "there is no state directory"};
  const auto take = [this](std::span<const Event> events) { return track(events); };
  DeadLettersMoved moved = dead_letters_->requeue(at_most, take);
  charge_dead_letters();
  return moved;
}

DeadLettersMoved Tracker::Engine::drop_dead_letters(std::size_t at_most) {
  if (!dead_letters_) return {.moved = 0, .left = 0, .error = "there is no state directory"};
  DeadLettersMoved moved = dead_letters_->drop(at_most);
  charge_dead_letters();
  return moved;
}

// They may pass the limit of the disk, and then count against new events.
void Tracker::Engine::charge_dead_letters() {
  if (!dead_letters_) return;
  std::error_code none;
  const auto bytes = std::filesystem::file_size(*options_.state_dir / "dead-letter.ndjson", none);
  if (!none) disked_->journal.charge_others(bytes);
}

}  // namespace sluice
