// Fork and exec, two pipes and a pidfd.
#include "support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace test {
namespace {

std::pair<Fd, Fd> pipe_ends() {
  std::array<int, 2> ends{};
  must(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
  return {Fd(ends[0]), Fd(ends[1])};
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));  // execve wants it so
  all.push_back(nullptr);
  return all;
}

std::string proc(pid_t pid, std::string_view entry) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(entry);
}

// A line `NAME:  N kB` of /proc/PID/status.
std::size_t status_bytes(pid_t pid, std::string_view name) {
  std::ifstream file(proc(pid, "status"));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return std::stoul(line.substr(name.size())) * 1024;
  }
  throw std::runtime_error("no " + std::string(name) + " in " + proc(pid, "status"));
}

int wait_readable(int fd, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    pollfd one{fd, POLLIN, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::max<decltype(left)>(left, 0)));
    if (ready >= 0 || errno != EINTR) return must(ready, "poll");
  }
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                 const Descriptors& descriptors) {
  auto [error_end, child_error] = pipe_ends();
  auto [output_end, child_output] = pipe_ends();
  const std::vector<char*> argv = pointers_to(command);
  const std::vector<char*> envp = pointers_to(environment);
  enough_ = Fd(must(::eventfd(0, EFD_CLOEXEC), "eventfd"));

  const pid_t parent = ::getpid();
  started_ = Clock::now();
  pid_ = must(::fork(), "fork");
  if (pid_ == 0) {  // other threads of ours may hold locks: nothing but system calls from here
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::signal(SIGPIPE, SIG_DFL);
    const rlimit files{descriptors.soft, descriptors.hard};
    if (files.rlim_cur != 0 && ::setrlimit(RLIMIT_NOFILE, &files) != 0) ::_exit(127);
    ::dup2(child_output.get(), STDOUT_FILENO);
    ::dup2(child_error.get(), STDERR_FILENO);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  pidfd_ = Fd(must(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), "pidfd_open"));
  ::fcntl(pidfd_.get(), F_SETFD, FD_CLOEXEC);
  stderr_ = std::move(error_end);
  stdout_ = std::move(output_end);
  reader_ = std::jthread([this] { read_all(); });
}

Process::~Process() {
  if (!exit_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, __WALL);
  }
  stop_reading();
}

void Process::signal(int number) const { must(::kill(pid_, number), "kill"); }

void Process::read_all() {
  std::array<pollfd, 3> sources{{{stderr_.get(), POLLIN, 0}, {stdout_.get(), POLLIN, 0}, {enough_.get(), POLLIN, 0}}};
  while (sources[0].fd >= 0 || sources[1].fd >= 0) {
    if (::poll(sources.data(), sources.size(), -1) < 0) continue;
    if (sources[2].revents != 0) return;
    for (std::size_t i = 0; i < 2; ++i) {
      if (sources[i].fd < 0 || sources[i].revents == 0) continue;
      std::array<char, 65536> bytes;
      const ssize_t n = ::read(sources[i].fd, bytes.data(), bytes.size());
      const std::lock_guard lock(mutex_);
      if (n > 0) (i == 0 ? errors_ : output_).append(bytes.data(), static_cast<std::size_t>(n));
      if (n <= 0) sources[i].fd = -1;
      if (n <= 0 && i == 0) stderr_ended_ = true;
      said_.notify_all();
    }
  }
}

void Process::stop_reading() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(enough_.get(), &one, sizeof one);
  if (reader_.joinable()) reader_.join();
}

std::optional<std::string> Process::wait_line(std::string_view text, milliseconds limit) {
  std::unique_lock lock(mutex_);
  const auto until = Clock::now() + limit;
  for (;;) {
    if (const auto at = errors_.find(text); at != std::string::npos) {
      const auto end = errors_.find('\n', at);
      if (end != std::string::npos) {
        const auto begin = errors_.rfind('\n', at);
        const auto first = begin == std::string::npos ? 0 : begin + 1;
        return errors_.substr(first, end - first);
      }
    }
    if (stderr_ended_ || said_.wait_until(lock, until) == std::cv_status::timeout) return std::nullopt;
  }
}

std::optional<Process::Exit> Process::wait_exit(milliseconds limit) {
  if (exit_) return exit_;
  if (wait_readable(pidfd_.get(), Clock::now() + limit) == 0) return std::nullopt;
  Exit how;
  how.at = Clock::now();
  int status = 0;
  // A thread that we trace reports stops of its own first; the end is what is wanted.
  do must(::waitpid(pid_, &status, __WALL), "waitpid");
  while (WIFSTOPPED(status));
  how.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  exit_ = how;
  if (reader_.joinable()) reader_.join();  // both pipes have ended with their only writer
  return exit_;
}

std::string Process::errors() const {
  const std::lock_guard lock(mutex_);
  return errors_;
}

std::string Process::output() const {
  const std::lock_guard lock(mutex_);
  return output_;
}

void Process::plug_stderr() {
  stop_reading();
  // Opened anew, since O_NONBLOCK on a descriptor shared with the child would be the child's as well.
  const Fd own(must(::open(proc(pid_, "fd/2").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC), "open the child's stderr"));
  const std::array<char, 4096> filler{};
  while (::write(own.get(), filler.data(), filler.size()) > 0) {
  }
  while (::write(own.get(), filler.data(), 1) > 0) {
  }
}

std::size_t Process::resident() const { return status_bytes(pid_, "VmRSS:"); }

std::size_t Process::peak_resident() const { return status_bytes(pid_, "VmHWM:"); }

void Process::forget_peak() const {
  std::ofstream file(proc(pid_, "clear_refs"));
  file << '5' << std::flush;
  if (!file) throw std::runtime_error("cannot write " + proc(pid_, "clear_refs"));
}

std::vector<std::string> Process::thread_names() const {
  std::vector<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator(proc(pid_, "task"))) {
    std::ifstream file(task.path() / "comm");
    if (std::string name; std::getline(file, name)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> Process::open_files() const {
  std::vector<std::string> names;
  for (const auto& one : std::filesystem::directory_iterator(proc(pid_, "fd"))) {
    std::error_code closed_meanwhile;
    const auto name = std::filesystem::read_symlink(one.path(), closed_meanwhile);
    if (!closed_meanwhile) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

milliseconds Process::cpu_time() const {
  std::ifstream file(proc(pid_, "stat"));
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));  // a name may hold anything
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  long user = 0;
  long system = 0;
  fields >> user >> system;
  if (!fields) throw std::runtime_error("cannot read " + proc(pid_, "stat"));
  return milliseconds((user + system) * 1000 / ::sysconf(_SC_CLK_TCK));
}

}  // namespace test
