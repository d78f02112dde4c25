// The identity of a file, to notice that a path names another file than the one that is open. A value; any thread.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

namespace sluice {

struct FileId {
  dev_t device = 0;
  ino_t inode = 0;

  explicit FileId(const struct ::stat& status) noexcept : device(status.st_dev), inode(status.st_ino) {}

  // The file of this name; nothing if there is none, or the system does not tell.
  [[nodiscard]] static std::optional<FileId> of(const std::string& path) noexcept {
    struct ::stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return FileId(status);
  }

  friend bool operator==(const FileId&, const FileId&) = default;
};

}  // namespace sluice
