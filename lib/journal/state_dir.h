// The state directory: made if missing, and held by one process at a time for as long as this object lives.
// Made and destroyed on one thread; refuses a directory that somebody else holds.
#pragma once

#include <filesystem>

namespace sluice {

class StateDir {
 public:
  // Throws StartError: in_use if another process holds it, io if it cannot be made or written.
  explicit StateDir(const std::filesystem::path& path);
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

 private:
  int lock_;  // the descriptor of PATH/lock; the kernel lets go of the lock with it, also at kill -9
};

}  // namespace sluice
