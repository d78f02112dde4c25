// The files of a SQLite database in WAL mode. A commit appends to the log PATH-wal, the index PATH-shm tells all
// processes what is in it, and now and then a checkpoint copies the log into PATH. A process holds all three by
// descriptors, so it does not notice when somebody removes one of them by name, and all that it writes to that file
// ends with the process. This class remembers which files were opened and compares them with what their names lead to
// now. It does not use SQLite. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sinks/file_id.h"

namespace sluice {

class SqliteFiles {
 public:
  explicit SqliteFiles(const std::string& path) : path_(path), log_path_(path + "-wal"), index_path_(path + "-shm") {}

  // Remembers the files that have the names now. Called once the database is open.
  void remember() noexcept;

  // What the names lead to now.
  enum class Place : std::uint8_t {
    same,
    index_gone,  // PATH-shm is another file or none: other processes do not see our locks
    log_gone,    // PATH-wal is another file or none: the last commits would end with this process
    moved,       // PATH itself is another file or none
  };
  [[nodiscard]] Place place() const noexcept;
  [[nodiscard]] bool index_is_same() const noexcept { return index_ && FileId::of(index_path_) == index_; }
  // True if the name of the log leads to a file with content.
  [[nodiscard]] bool log_has_content() const noexcept;

  // Syncs the log and, once, the directory entry. Returns the error as `sync PATH: reason`, or nothing.
  [[nodiscard]] std::string sync();
  // Unlinks the log and the index, if the names still lead to ours.
  void unlink_side_files() const noexcept;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& log_path() const noexcept { return log_path_; }
  [[nodiscard]] const std::string& index_path() const noexcept { return index_path_; }

 private:
  const std::string path_, log_path_, index_path_;
  std::optional<FileId> file_, log_, index_;
  bool name_synced_ = false;  // the directory entry is on disk
};

}  // namespace sluice
