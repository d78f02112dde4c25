// See the header.
#include "journal/named_lock.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sluice {

NamedLock::~NamedLock() { let_go(); }

bool NamedLock::holds(const std::string& name) const {
  struct ::stat named {
  }, held{};
  return descriptor_ >= 0 && ::stat(name.c_str(), &named) == 0 && ::fstat(descriptor_, &held) == 0 &&
         named.st_ino == held.st_ino && named.st_dev == held.st_dev;
}

std::error_code NamedLock::take(int descriptor) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const std::error_code error(errno, std::generic_category());
    ::close(descriptor);
    return error;
  }
  let_go();
  descriptor_ = descriptor;
  return {};
}

void NamedLock::let_go() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0) ::close(descriptor);
}

bool is_taken(std::error_code error) { return error == std::errc::operation_would_block; }

}  // namespace sluice
