// The state directory: made if missing, and held by one process at a time for as long as this object lives.
// Made and destroyed on one thread, held anew by one at a time; refuses a directory that somebody else holds.
#pragma once

#include <filesystem>
#include <system_error>

namespace sluice {

class StateDir {
 public:
  // Throws StartError: in_use if another process holds it, io if it cannot be made or written.
  explicit StateDir(std::filesystem::path path);
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  // If somebody has removed it under us: makes and locks it anew. Not, if another process holds what is there now.
  [[nodiscard]] std::error_code hold();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  const std::filesystem::path path_;
  int lock_ = -1;  // the descriptor of PATH/lock; the kernel lets go of the lock with it, also at kill -9
};

}  // namespace sluice
