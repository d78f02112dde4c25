// The state directory: made if missing, and locked by one process at a time for as long as this object lives.
// Constructed and destroyed on one thread; hold() by one thread at a time. It refuses a directory that another process
// holds, and a path that is no directory. If the disk does not let it be made or locked, that may end: hold() tries
// again.
#pragma once

#include <filesystem>
#include <system_error>

#include "journal/named_lock.h"

namespace sluice {

class StateDir {
 public:
  // Throws StartError: in_use if another process holds it, unusable if the path is no directory, io if its file system
  // makes no directories.
  explicit StateDir(std::filesystem::path path);
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  // Locks it if it is not held. If somebody has removed it, it is made and locked anew. An error if another process
  // holds the directory of this name now.
  [[nodiscard]] std::error_code hold();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  [[nodiscard]] std::error_code hold_directory();
  [[nodiscard]] std::error_code hold_file();

  const std::filesystem::path path_;
  // The directory's own lock needs no write and survives the removal of the file; the file's works where a directory
  // cannot be locked (NFS).
  NamedLock directory_;
  NamedLock file_;  // PATH/lock
};

}  // namespace sluice
