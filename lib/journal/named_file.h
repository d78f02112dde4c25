// A file that was unlinked while it is open takes every write and every sync, and is gone with the process. So a sync
// that is to last also checks that the file has a name. Any thread.
#pragma once

#include <system_error>

#include "journal/disk.h"

namespace sluice::journal {

// An error (no_such_file_or_directory) if the file has no name.
[[nodiscard]] inline std::error_code check_named(DiskFile& file) {
  DiskFile::Stat stat;
  if (const auto error = file.stat(stat)) return error;
  return stat.links > 0 ? std::error_code() : std::make_error_code(std::errc::no_such_file_or_directory);
}

[[nodiscard]] inline std::error_code sync_named(DiskFile& file) {
  if (const auto error = file.sync()) return error;
  return check_named(file);
}

}  // namespace sluice::journal
