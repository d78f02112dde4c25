// What stands at the end of a file to which lines are to be appended: whole lines, a line that a crash or a power cut
// left torn, or something that somebody else wrote. Only what is known to be ours may be cut off.
// Pure but for reading the file: any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <system_error>

namespace sluice {

struct LineTail {
  enum Kind : std::uint8_t {
    whole,    // the last byte is a line feed, or there is none
    torn,     // ours, and incomplete: behind `end` nothing is worth keeping
    foreign,  // a line without a line feed that is not known to be ours
    no_text,  // no text of lines at all, but a database, a picture, an archive
  };
  Kind kind = whole;
  off_t end = 0;  // of the last whole line
};

// For lines as json_line.h makes them: a line that begins like one of them, or a piece of JSON behind one, is ours, and
// zero bytes behind the last line are what a power cut left.
[[nodiscard]] std::error_code find_json_tail(int descriptor, off_t size, LineTail& found);

// For lines of which nothing is known but that they end with a line feed: nothing is ever torn.
[[nodiscard]] std::error_code find_raw_tail(int descriptor, off_t size, LineTail& found);

// `{"id":"UUID-N…`
[[nodiscard]] bool begins_like_ours(std::string_view line) noexcept;

}  // namespace sluice
