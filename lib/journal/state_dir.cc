// The locks are flock's: the kernel releases them with the process, so there is nothing to clean up.
#include "journal/state_dir.h"

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "sluice/error.h"

namespace sluice {

namespace {

std::error_code failure() { return {errno, std::generic_category()}; }

}  // namespace

StateDir::StateDir(std::filesystem::path path) : path_(std::move(path)) {
  const std::error_code error = hold();
  if (is_taken(error)) {
    throw StartError(StartError::Kind::in_use, "state directory " + path_.string() + ": held by another process");
  }
  // All its parents could be made, and it cannot: this file system (such as /proc) makes no directories.
  if (error == std::errc::no_such_file_or_directory && !std::filesystem::is_symlink(path_)) {
    throw StartError(StartError::Kind::io, "state directory " + path_.string() + ": " + error.message());
  }
  if (error == std::errc::not_a_directory) {
    throw StartError(StartError::Kind::unusable, "state directory " + path_.string() + ": " + error.message());
  }
}

std::error_code StateDir::hold() {
  if (const std::error_code error = hold_directory()) return error;
  const std::error_code error = hold_file();
  // One lock is enough if the other is not available.
  return directory_.holds(path_) && !is_taken(error) ? std::error_code{} : error;
}

std::error_code StateDir::hold_directory() {
  if (directory_.holds(path_)) return {};
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) return error;
  const int opened = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return errno == EACCES ? std::error_code() : failure();  // we may enter it but not read it
  error = directory_.take(opened);
  return is_taken(error) ? error : std::error_code();
}

std::error_code StateDir::hold_file() {
  const std::string name = path_ / "lock";
  if (file_.holds(name)) return {};
  int opened = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  // On a read-only disk an existing file can still be locked.
  if (opened < 0) opened = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  return opened < 0 ? failure() : file_.take(opened);
}

}  // namespace sluice
