// The state directory: made if missing, and held by one process at a time for as long as this object lives.
// Made and destroyed on one thread, held anew by one at a time. It refuses a directory that somebody else holds, and a
// path that is no directory. A disk that does not let it be made, or locked, is in trouble that ends: hold() tries
// again.
#pragma once

#include <filesystem>
#include <system_error>

#include "journal/named_lock.h"

namespace sluice {

class StateDir {
 public:
  // Throws StartError: in_use if another process holds it, unusable if there is something else of that name, io if
  // its file system makes no directories.
  explicit StateDir(std::filesystem::path path);
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  // Holds it, if it is not held, or if somebody has removed it under us: then it is made and locked anew. Not, if
  // another process holds what is there now.
  [[nodiscard]] std::error_code hold();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  [[nodiscard]] std::error_code hold_directory();
  [[nodiscard]] std::error_code hold_file();

  const std::filesystem::path path_;
  // The directory's own lock needs no write and is there when the file was removed; the file's works where a directory
  // cannot be locked (NFS).
  NamedLock directory_;
  NamedLock file_;  // PATH/lock
};

}  // namespace sluice
