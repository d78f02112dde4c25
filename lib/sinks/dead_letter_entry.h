// Parses a line of the dead-letter file: the counterpart of put_dead_letter(). Refuses every line that
// put_dead_letter() cannot have written. Pure functions; any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/dead_letters.h"

namespace sluice {

// `line` without its line feed.
[[nodiscard]] std::optional<DeadLetterEntry> parse_dead_letter(std::string_view line);

// STATE/dead-letter.ndjson
[[nodiscard]] std::filesystem::path dead_letter_path(const std::filesystem::path& state_dir);

// The content type of the event that this entry becomes when requeued: with the parameter `requeued=OLD-ID`, which
// replaces an older one. Other parameters are dropped if the type would be too long for an event.
[[nodiscard]] std::string requeued_type(const DeadLetterEntry& entry);

}  // namespace sluice
