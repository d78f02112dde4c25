// The commands of sluicectl, one function each: writes the answer to standard output and errors to standard error,
// returns the exit code. One thread.
#pragma once

#include "ctl/arguments.h"

namespace sluicectl {

[[nodiscard]] int status(const Arguments& arguments);
[[nodiscard]] int send(const Arguments& arguments);
[[nodiscard]] int journal_ls(const Arguments& arguments);
[[nodiscard]] int journal_verify(const Arguments& arguments);
[[nodiscard]] int journal_dump(const Arguments& arguments);
[[nodiscard]] int journal_replay_to(const Arguments& arguments);
[[nodiscard]] int dead_letter_ls(const Arguments& arguments);
[[nodiscard]] int dead_letter_requeue(const Arguments& arguments);
[[nodiscard]] int dead_letter_drop(const Arguments& arguments);

}  // namespace sluicectl
