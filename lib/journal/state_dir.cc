// The lock is flock on PATH/lock: it goes with the process, so nothing is left behind to clean up.
#include "journal/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "sluice/error.h"

namespace sluice {

StateDir::StateDir(const std::filesystem::path& path) : lock_(-1) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    throw StartError(StartError::Kind::io, "state directory " + path.string() + ": " + error.message());
  }
  const auto file = path / "lock";
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) {
    throw StartError(StartError::Kind::io,
                     "state directory " + file.string() + ": " + std::generic_category().message(errno));
  }
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const int why = errno;
    ::close(lock_);
    if (why == EWOULDBLOCK) {
      throw StartError(StartError::Kind::in_use, "state directory " + path.string() + ": held by another process");
    }
    throw StartError(StartError::Kind::io, "lock " + file.string() + ": " + std::generic_category().message(why));
  }
}

StateDir::~StateDir() { ::close(lock_); }

}  // namespace sluice
