// Rights are checked by faccessat(2), which includes read-only file systems; root has all of them. It cannot see that a
// disk is full, or that a lock is released a moment later.
#include "check_config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "host/file_systems.h"
#include "http/listener.h"
#include "settings.h"
#include "sluice/error.h"
#include "sluice/sinks.h"

namespace sluiced {

namespace {

namespace fs = std::filesystem;
using sluice::StartError;

[[noreturn]] void refuse(const std::string& subject, const fs::path& path, int error) {
  const std::string where = subject.ends_with(path.string()) ? "" : path.string() + ": ";
  throw StartError(StartError::Kind::io,
                   fmt::format("{}: {}{}", subject, where, std::generic_category().message(error)));
}

// The kind of the file; nothing if none exists. Throws if that cannot be determined.
std::optional<mode_t> kind_of(const std::string& subject, const fs::path& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) == 0) return file.st_mode & S_IFMT;
  if (errno != ENOENT) refuse(subject, path, errno);
  return std::nullopt;
}

void want_rights(const std::string& subject, const fs::path& path, int rights) {
  if (::faccessat(AT_FDCWD, path.c_str(), rights, AT_EACCESS) != 0) refuse(subject, path, errno);
}

void want_directory(const std::string& subject, const fs::path& path, int rights) {
  const auto kind = kind_of(subject, path);
  if (!kind) refuse(subject, path, ENOENT);
  if (*kind != S_IFDIR) refuse(subject, path, ENOTDIR);
  want_rights(subject, path, rights);
}

fs::path directory_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// Reads /proc/locks: trying the lock would take it from a daemon that starts at this moment.
bool is_locked(const fs::path& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return false;
  const std::string wanted = fmt::format(" {:02x}:{:02x}:{} ", major(file.st_dev), minor(file.st_dev), file.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    if (line.find("FLOCK") != std::string::npos && line.find(wanted) != std::string::npos) return true;
  }
  return false;
}

std::vector<std::string> check_state_dir(const fs::path& state_dir) {
  const std::string subject = fmt::format("state directory {}", state_dir.string());
  const fs::path trimmed = state_dir.has_filename() ? state_dir : state_dir.parent_path();
  fs::path there = trimmed;  // the nearest directory that exists; a start would create the ones below
  while (!kind_of(subject, there)) there = directory_of(there);
  const bool exists = there == trimmed;
  want_directory(subject, there, exists ? R_OK | W_OK | X_OK : W_OK | X_OK);
  if (!exists) return {};
  if (kind_of(subject, there / "journal")) want_directory(subject, there / "journal", R_OK | W_OK | X_OK);
  if (kind_of(subject, there / "lock")) want_rights(subject, there / "lock", R_OK | W_OK);
  if (!is_locked(there / "lock")) return {};
  return {subject + ": in use now, by a sluiced that runs"};
}

void check_sink(const options::Options& options) {
  const std::optional<std::string> named = sluice::file_of(options.sink);
  if (!named) return;
  const std::string subject = fmt::format("sink {}", sluice::redacted(options.sink));
  const fs::path path = *named;
  if (const auto kind = kind_of(subject, path)) {
    if (*kind == S_IFDIR) refuse(subject, path, EISDIR);
    return want_rights(subject, path, W_OK);
  }
  const fs::path directory = directory_of(path);
  // A start creates the state directory before it opens the sink.
  if (options.state_dir && directory == *options.state_dir && !kind_of(subject, directory)) return;
  want_directory(subject, directory, W_OK | X_OK);
}

}  // namespace

std::vector<std::string> check_config(const options::Options& options) {
  std::vector<std::string> remarks;
  const auto check_address = [&](std::string_view flag, const http::Address& address) {
    try {
      const std::string remark = http::try_address(address);
      if (!remark.empty()) remarks.push_back(fmt::format("{}: {}", flag, remark));
    } catch (const StartError& error) {
      throw StartError(error.kind(), fmt::format("{}: {}", flag, error.what()));
    }
  };
  // The grammar of all addresses first, as a start does.
  const std::vector<http::Address> intake = intake_addresses(options);
  const std::vector<http::Address> admin = admin_addresses(options);
  for (const http::Address& address : intake) check_address("--listen", address);
  for (const http::Address& address : admin) {
    if (!address.optional) check_address("--admin", address);
  }
  if (options.state_dir) {
    for (std::string& remark : check_state_dir(*options.state_dir)) remarks.push_back(std::move(remark));
  }
  check_sink(options);
  if (std::string remark = remark_on_files(options); !remark.empty()) remarks.push_back(std::move(remark));
  return remarks;
}

std::string remark_on_files(const options::Options& options) {
  std::vector<host::OwnFile> files;
  if (options.state_dir) files.push_back({"the state directory", *options.state_dir});
  if (const auto sink = sluice::file_of(options.sink)) files.push_back({"the sink's file", *sink});
  return host::remark_on_network(files);
}

}  // namespace sluiced
