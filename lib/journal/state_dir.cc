// The lock is flock on PATH/lock: it goes with the process, so nothing is left behind to clean up.
#include "journal/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sluice/error.h"

namespace sluice {

StateDir::StateDir(std::filesystem::path path) : path_(std::move(path)) {
  const std::error_code error = hold();
  if (!error) return;
  if (error == std::errc::operation_would_block) {
    throw StartError(StartError::Kind::in_use, "state directory " + path_.string() + ": held by another process");
  }
  throw StartError(StartError::Kind::io, "state directory " + path_.string() + ": " + error.message());
}

StateDir::~StateDir() {
  if (lock_ >= 0) ::close(lock_);
}

std::error_code StateDir::hold() {
  const auto failure = [] { return std::error_code(errno, std::generic_category()); };
  const std::string file = path_ / "lock";
  struct ::stat named {
  }, held{};
  if (lock_ >= 0 && ::stat(file.c_str(), &named) == 0 && ::fstat(lock_, &held) == 0 && named.st_ino == held.st_ino &&
      named.st_dev == held.st_dev) {
    return {};
  }
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) return error;
  const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return failure();
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    error = failure();
    ::close(lock);
    return error;
  }
  const int old = std::exchange(lock_, lock);
  if (old >= 0) ::close(old);
  return {};
}

}  // namespace sluice
