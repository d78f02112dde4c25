// A dead letter's line read back: the twin of put_dead_letter. Pure functions: any thread. It refuses every line that
// put_dead_letter cannot have written.
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

// The content type of the event that this entry becomes: with `; requeued=OLD-ID`, in place of an older one. Parameters
// that would make it too long for an event are left out.
[[nodiscard]] std::string requeued_type(const DeadLetterEntry& entry);

}  // namespace sluice
