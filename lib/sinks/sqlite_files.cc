// See the header.
#include "sinks/sqlite_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "sinks/descriptor.h"

namespace sluice {

namespace {

// 0, or the error number.
int sync_path(const std::string& path, int flags, const std::optional<FileId>& expected) {
  const Descriptor opened(::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC));
  struct ::stat status {};
  if (!opened.is_open() || ::fstat(opened.get(), &status) != 0) return errno;
  if (expected && FileId(status) != *expected) return ESTALE;
  return ::fsync(opened.get()) != 0 ? errno : 0;
}

}  // namespace

void SqliteFiles::remember() noexcept {
  file_ = FileId::of(path_);
  log_ = FileId::of(log_path_);
  index_ = FileId::of(index_path_);
}

SqliteFiles::Place SqliteFiles::place() const noexcept {
  if (!file_ || FileId::of(path_) != file_) return Place::moved;
  if (log_ && FileId::of(log_path_) != log_) return Place::log_gone;
  if (index_ && FileId::of(index_path_) != index_) return Place::index_gone;
  return Place::same;
}

bool SqliteFiles::log_has_content() const noexcept {
  struct ::stat status {};
  return ::stat(log_path_.c_str(), &status) == 0 && status.st_size > 0;
}

std::string SqliteFiles::sync() {
  int error = 0;
  std::string_view what = log_path_;
  const std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  const std::string name = "the directory of " + path_;
  if (log_) error = sync_path(log_path_, 0, log_);
  if (error == 0 && !name_synced_) {
    what = name;
    error = sync_path(directory.empty() ? "." : directory.string(), O_DIRECTORY, std::nullopt);
    // EACCES: a directory that we may enter but not read cannot be synced. EINVAL: the file system does not sync them.
    if (error == EACCES || error == EINVAL) error = 0;
    name_synced_ = error == 0;
  }
  if (error == 0) return {};
  return "sync " + std::string(what) + ": " + std::generic_category().message(error);
}

void SqliteFiles::unlink_side_files() const noexcept {
  if (log_ && FileId::of(log_path_) == log_) ::unlink(log_path_.c_str());
  if (index_is_same()) ::unlink(index_path_.c_str());
}

}  // namespace sluice
