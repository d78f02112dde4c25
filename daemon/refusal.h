// How sluiced ends without serving: one text on stdout or stderr, and the exit code. One thread.
#pragma once

#include "options/options.h"
#include "sluice/error.h"

namespace sluiced {

// Prints the answer of the command line (help, version, or the error) and returns its exit code; 74 if stdout fails.
[[nodiscard]] int answer(const options::Exit& exit);

// Prints why the start failed, in one line, and returns its exit code.
[[nodiscard]] int refuse(const sluice::StartError& error);

// Another attempt would fail in the same way: the options have to change.
[[nodiscard]] bool is_final(const sluice::StartError& error) noexcept;

}  // namespace sluiced
