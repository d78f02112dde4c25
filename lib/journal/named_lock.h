// A lock on a file or a directory (flock) that can check whether the locked inode still has its name, since names are
// removed and reused. The kernel releases a lock with its descriptor, also at kill -9.
// One thread at a time. It refuses a lock that another process, or another NamedLock, holds.
#pragma once

#include <string>
#include <system_error>

namespace sluice {

class NamedLock {
 public:
  NamedLock() = default;
  ~NamedLock();
  NamedLock(const NamedLock&) = delete;
  NamedLock& operator=(const NamedLock&) = delete;

  // Whether this name is the locked inode's.
  [[nodiscard]] bool holds(const std::string& name) const;
  // Owns the descriptor from here, locks its file, and releases the lock held before. On an error the old lock stays,
  // and the descriptor is closed.
  [[nodiscard]] std::error_code take(int descriptor);
  void let_go();

 private:
  int descriptor_ = -1;
};

// Whether take() failed because the lock is held elsewhere.
[[nodiscard]] bool is_taken(std::error_code error);

}  // namespace sluice
