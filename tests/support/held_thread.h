// A thread of another process held still, as by a page that a dead disk does not give. It goes on when this process, or
// the thread that made it, ends. To be used on one thread.
#pragma once

#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "support/fd.h"

namespace test {

class HeldThread {
 public:
  explicit HeldThread(pid_t thread) : thread_(thread) {
    must(static_cast<int>(::ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr)), "ptrace seize");
    must(static_cast<int>(::ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr)), "ptrace interrupt");
    int status = 0;
    do must(::waitpid(thread_, &status, __WALL), "waitpid");
    while (!WIFSTOPPED(status));
  }

 private:
  pid_t thread_;
};

}  // namespace test
