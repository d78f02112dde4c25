// Standard input, output and error of sluiced and sluicectl. Used by one thread, at the start and the end. What cannot
// be written changes an exit code only where the text is the answer itself: a message on stderr is given up silently.
#pragma once

#include <initializer_list>
#include <string_view>

namespace sluiced::host {

// Opens those of the descriptors 0, 1 and 2 that are closed, on /dev/null: else a file opened later would get the
// number, and the log would be written into it. Opens them in the opposite direction, so that reading stdin or writing
// stdout and stderr still fails. The first call in main.
void open_standard_streams() noexcept;

// Writes the parts to stderr as one line, with a line feed. Never throws, raises no SIGPIPE, and waits at most a second
// for a reader; then the rest is dropped.
void complain(std::initializer_list<std::string_view> parts) noexcept;

// Writes the text to stdout and waits for its reader. False: not all of it could be written.
[[nodiscard]] bool print(std::string_view text) noexcept;

}  // namespace sluiced::host
