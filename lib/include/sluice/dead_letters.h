// The dead letters of a state directory, read from outside: events that a sink refused for good. Only a daemon changes
// the file while it runs; this reads it, and works beside one. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>

#include "sluice/api.h"
#include "sluice/event.h"

namespace sluice {

// An event that a sink refused for good, and why. Its views are valid as long as those of the event.
struct DeadLetter {
  Delivery event;
  std::string_view reason;
};

// A line of STATE/dead-letter.ndjson, taken apart.
struct DeadLetterEntry {
  std::string id;    // RUN-SEQ
  std::string time;  // RFC 3339
  std::string reason;
  std::uint32_t attempts = 0;
  std::string content_type;
  std::string payload;  // as it was; only line breaks within JSON have become spaces
};

// Shows each whole line in its order, without its end, until `visit` says false; with a line that is no dead letter
// (somebody has edited the file) comes no entry. Both are valid during the call only. A file that is missing has no
// lines; a directory that is missing is an error. Holds a line at a time. What `visit` throws, this throws.
using VisitDeadLetter = std::function<bool(std::string_view line, const DeadLetterEntry* entry)>;
[[nodiscard]] SLUICE_API std::error_code for_each_dead_letter(const std::filesystem::path& state_dir,
                                                              const VisitDeadLetter& visit);

}  // namespace sluice
