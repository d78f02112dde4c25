// Standard input, output and error of sluiced and sluicectl. Used by one thread, at the start and the end. What cannot
// be written changes an exit code only where the text is the answer itself: a message on stderr is given up silently.
#pragma once

#include <initializer_list>
#include <string_view>

namespace sluiced::host {

// First thing in main: descriptors 0, 1 and 2 that are closed are opened onto /dev/null, or later files of ours would
// get their numbers and the log would land in them. Opened the wrong way round, so that reading or writing them still
// fails.
void open_standard_streams() noexcept;

// Writes the parts to stderr as one line, with a line feed. Never throws, raises no SIGPIPE, and does not wait longer
// than a second for a reader. What stderr does not take is dropped.
void complain(std::initializer_list<std::string_view> parts) noexcept;

// Writes the text to stdout and waits for its reader. False if it could not be written, all of it.
[[nodiscard]] bool print(std::string_view text) noexcept;

}  // namespace sluiced::host
