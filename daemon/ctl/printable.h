// Text of others, made safe to show: whatever a server, a producer or a file says, a terminal gets no escape sequence,
// no control and no code point that changes the direction of what stands beside it. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace sluicectl {

// Controls (C0, DEL, C1), directional marks and line separators as \x1B or \u202E, bytes that are no UTF-8 as \xFF.
[[nodiscard]] std::string printable(std::string_view text);

// The same for a text that is JSON, which stays the same JSON: in strings such code points become \u escapes. White
// space between values stays; what is no JSON is no concern of this.
[[nodiscard]] std::string printable_json(std::string_view json);

// A JSON string with its quotes, printable as above; what is no UTF-8 becomes U+FFFD, as JSON allows no bytes.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace sluicectl
