// The child shares a page with us: a clock reading at each end of its wait.
#include "support/control.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <ctime>
#include <new>

#include "support/fd.h"

namespace test {
namespace {

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

struct Control::Shared {
  std::atomic<std::int64_t> started{0};
  std::atomic<std::int64_t> late_ns{0};
};

Control::Control(milliseconds wait) {
  void* page = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) must(-1, "mmap");
  shared_ = new (page) Shared;
  sigset_t wake;
  ::sigemptyset(&wake);
  ::sigaddset(&wake, SIGUSR1);
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &wake, &before);  // so that the child has it blocked when it is sent
  pid_ = must(::fork(), "fork");
  if (pid_ == 0) {  // nothing but system calls from here
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int number = 0;
    ::sigwait(&wake, &number);
    const std::int64_t end = shared_->started.load() + std::int64_t{std::chrono::nanoseconds(wait).count()};
    const timespec until{end / 1'000'000'000, end % 1'000'000'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    shared_->late_ns.store(now_ns() - end);
    ::_exit(0);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Control::~Control() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::munmap(shared_, sizeof(Shared));
}

void Control::start() const {
  shared_->started.store(now_ns());
  must(::kill(pid_, SIGUSR1), "kill");
}

milliseconds Control::lateness() {
  must(::waitpid(pid_, nullptr, 0), "waitpid");
  pid_ = -1;
  return std::chrono::ceil<milliseconds>(std::chrono::nanoseconds(shared_->late_ns.load()));
}

Stopped stop_with_deadline(Daemon& daemon, milliseconds deadline) {
  Control control(deadline);
  control.start();
  daemon.signal_stop();
  Stopped stopped{{}, daemon.wait_end(deadline + std::chrono::seconds(10))};
  stopped.late = {stopped.ended.after - deadline, control.lateness()};
  return stopped;
}

}  // namespace test
