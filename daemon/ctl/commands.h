// What sluicectl can do, a function a command: each writes its answer to standard output, what went wrong to standard
// error, and returns the exit code. One thread.
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
