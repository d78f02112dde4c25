// Text from elsewhere, made safe to show: whatever a server, a producer or a file contains, a terminal gets no escape
// sequence, no control and no code point that changes the direction of its neighbours. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "sluice/event.h"

namespace sluicectl {

// Controls (C0, DEL, C1), directional marks and line separators as \x1B or \u202E, bytes that are not UTF-8 as \xFF.
[[nodiscard]] std::string printable(std::string_view text);

// The same for JSON, which stays the same JSON: such code points, which only strings contain, become \u escapes; white
// space between values stays. Does not check that the text is JSON.
[[nodiscard]] std::string printable_json(std::string_view json);

// A JSON string with its quotes, printable as above; bytes that are not UTF-8 become U+FFFD, as JSON allows none.
[[nodiscard]] std::string quoted(std::string_view text);

// Only printable ASCII: safe in a header line and on a terminal.
[[nodiscard]] bool is_plain(std::string_view text) noexcept;

// The id of a run, as in the ids of its events.
[[nodiscard]] std::string run_text(const sluice::RunId& run);

}  // namespace sluicectl
