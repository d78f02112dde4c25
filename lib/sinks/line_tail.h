// Classifies the end of a file before lines are appended to it: whole lines, a line that a crash or a power cut left
// torn, or the output of another program. Only a line that is certainly ours may be cut off. Any thread; only reads the
// file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <system_error>

namespace sluice {

struct LineTail {
  enum Kind : std::uint8_t {
    whole,    // the last byte is a line feed, or the file is empty
    torn,     // our own incomplete line: everything after `end` may be cut off
    foreign,  // a line without a line feed that may not be ours
    no_text,  // not lines of text, but a database, a picture, an archive
  };
  Kind kind = whole;
  off_t end = 0;  // the end of the last whole line
};

// For lines that json_line.h writes: a line that begins like one of them, or incomplete JSON after one, is ours; zero
// bytes after the last line are the result of a power cut.
[[nodiscard]] std::error_code find_json_tail(int descriptor, off_t size, LineTail& found);

// For lines of any content: the result is never `torn`.
[[nodiscard]] std::error_code find_raw_tail(int descriptor, off_t size, LineTail& found);

// `{"id":"UUID-N…`
[[nodiscard]] bool begins_like_ours(std::string_view line) noexcept;

}  // namespace sluice
