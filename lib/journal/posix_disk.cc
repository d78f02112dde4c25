// System calls, and no decisions. Tries again after EINTR, and continues a short write.
#include "journal/posix_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "journal/state_dir.h"

namespace sluice {

namespace {

// Less than IOV_MAX, and small enough for the stack.
constexpr std::size_t kPieces = 256;

std::error_code failure(int error = errno) { return {error, std::generic_category()}; }

class PosixFile final : public DiskFile {
 public:
  explicit PosixFile(int descriptor) noexcept : descriptor_(descriptor) {}
  ~PosixFile() override { ::close(descriptor_); }

  std::error_code write(std::uint64_t offset, std::span<const std::span<const std::byte>> pieces) override {
    while (!pieces.empty()) {
      const auto some = pieces.first(std::min(pieces.size(), kPieces));
      if (const std::error_code error = write_some(offset, some)) return error;
      for (const auto& piece : some) offset += piece.size();
      pieces = pieces.subspan(some.size());
    }
    return {};
  }

  std::error_code read(std::uint64_t offset, std::span<std::byte> to, std::size_t& got) override {
    got = 0;
    while (got < to.size()) {
      const ssize_t n = ::pread(descriptor_, to.data() + got, to.size() - got, static_cast<off_t>(offset + got));
      if (n == 0) return {};
      if (n < 0 && errno != EINTR) return failure();
      if (n > 0) got += static_cast<std::size_t>(n);
    }
    return {};
  }

  std::error_code sync() override { return ::fdatasync(descriptor_) == 0 ? std::error_code{} : failure(); }

  std::error_code preallocate(std::uint64_t size) override {
    int result = 0;
    do {
      result = ::fallocate(descriptor_, 0, 0, static_cast<off_t>(size));
    } while (result != 0 && errno == EINTR);
    if (result == 0) return {};
    if (errno != EOPNOTSUPP) return failure();
    // A file system without fallocate: the room is not reserved, and a write may find the disk full.
    struct ::stat now {};
    if (::fstat(descriptor_, &now) != 0) return failure();
    if (static_cast<std::uint64_t>(now.st_size) >= size) return {};
    return truncate(size);
  }

  std::error_code truncate(std::uint64_t size) override {
    return ::ftruncate(descriptor_, static_cast<off_t>(size)) == 0 ? std::error_code{} : failure();
  }

  std::error_code stat(Stat& to) override {
    struct ::stat now {};
    if (::fstat(descriptor_, &now) != 0) return failure();
    to = {static_cast<std::uint64_t>(now.st_size), now.st_nlink};
    return {};
  }

 private:
  std::error_code write_some(std::uint64_t offset, std::span<const std::span<const std::byte>> pieces) const {
    std::array<iovec, kPieces> vectors;
    std::size_t count = 0;
    for (const auto& piece : pieces) {
      if (!piece.empty()) vectors[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
    }
    for (std::size_t at = 0; at < count;) {
      const ssize_t n =
          ::pwritev(descriptor_, vectors.data() + at, static_cast<int>(count - at), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failure(n < 0 ? errno : EIO);
      offset += static_cast<std::uint64_t>(n);
      for (auto left = static_cast<std::size_t>(n); left > 0;) {
        const std::size_t used = std::min(left, vectors[at].iov_len);
        vectors[at].iov_base = static_cast<std::byte*>(vectors[at].iov_base) + used;
        vectors[at].iov_len -= used;
        left -= used;
        if (vectors[at].iov_len == 0) ++at;
      }
    }
    return {};
  }

  const int descriptor_;
};

// Syncs a directory; EINVAL: its file system does not support that.
std::error_code sync_descriptor(int directory) {
  return ::fsync(directory) == 0 || errno == EINVAL ? std::error_code{} : failure();
}

std::error_code sync_path(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return failure();
  const std::error_code error = sync_descriptor(descriptor);
  ::close(descriptor);
  return error;
}

std::error_code list_path(const std::filesystem::path& directory, std::vector<std::string>& names) {
  std::error_code error;
  names.clear();
  auto entry = std::filesystem::directory_iterator(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return error;
}

std::error_code open_path(const std::filesystem::path& path, Disk::Open how, std::unique_ptr<DiskFile>& file) {
  int flags = O_CLOEXEC | O_NOCTTY;
  switch (how) {
    case Disk::Open::read:
      flags |= O_RDONLY;
      break;
    case Disk::Open::write:
      flags |= O_RDWR;
      break;
    case Disk::Open::create:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
  }
  const int descriptor = ::open(path.c_str(), flags, 0600);
  if (descriptor < 0) return failure();
  file = std::make_unique<PosixFile>(descriptor);
  return {};
}

class ReadOnlyDisk final : public Disk {
 public:
  explicit ReadOnlyDisk(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::error_code hold() override { return failure(EROFS); }
  std::error_code open(const std::string& name, Open how, std::unique_ptr<DiskFile>& file) override {
    return how == Open::read ? open_path(directory_ / name, how, file) : failure(EROFS);
  }
  std::error_code rename(const std::string&, const std::string&) override { return failure(EROFS); }
  std::error_code unlink(const std::string&) override { return failure(EROFS); }
  std::error_code sync_directory() override { return failure(EROFS); }
  std::error_code list(std::vector<std::string>& names) override { return list_path(directory_, names); }

 private:
  const std::filesystem::path directory_;
};

}  // namespace

PosixDisk::PosixDisk(StateDir& state_dir) : state_dir_(state_dir), directory_(journal_directory(state_dir.path())) {}

std::error_code PosixDisk::hold() {
  if (const std::error_code error = state_dir_.hold()) return error;
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return failure();
  if (lock_.holds(directory_)) return {};
  names_synced_ = false;
  const int opened = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return failure();
  // If a directory cannot be locked, the lock of the state directory's file must do.
  const std::error_code error = lock_.take(opened);
  return is_taken(error) ? error : std::error_code();
}

// Syncs from the journal's parent up to the root of the file system. An earlier start may have made these directories
// and failed before it synced their names, so all are synced, new or not.
std::error_code PosixDisk::sync_names_above() const {
  int at = ::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  std::error_code error = at < 0 ? failure() : std::error_code();
  while (!error) {
    struct ::stat below {
    }, above{};
    const int parent = ::openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || ::fstat(at, &below) != 0 || ::fstat(parent, &above) != 0) error = failure();
    ::close(at);
    at = parent;
    if (error || above.st_dev != below.st_dev || above.st_ino == below.st_ino) break;
    const int readable = ::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // We cannot sync a directory that we may enter but not read; whoever made it could.
    if (readable < 0 && errno == EACCES) continue;
    error = readable < 0 ? failure() : sync_descriptor(readable);
    if (readable >= 0) ::close(readable);
  }
  if (at >= 0) ::close(at);
  return error;
}

std::error_code PosixDisk::open(const std::string& name, Open how, std::unique_ptr<DiskFile>& file) {
  return open_path(directory_ / name, how, file);
}

std::error_code PosixDisk::rename(const std::string& from, const std::string& to) {
  return ::rename((directory_ / from).c_str(), (directory_ / to).c_str()) == 0 ? std::error_code{} : failure();
}

std::error_code PosixDisk::unlink(const std::string& name) {
  return ::unlink((directory_ / name).c_str()) == 0 ? std::error_code{} : failure();
}

std::error_code PosixDisk::sync_directory() {
  if (!names_synced_) {
    if (const std::error_code error = sync_names_above()) return error;
    names_synced_ = true;
  }
  return sync_path(directory_);
}

std::error_code PosixDisk::list(std::vector<std::string>& names) { return list_path(directory_, names); }

std::unique_ptr<Disk> read_only_disk(const std::filesystem::path& state_dir) {
  return std::make_unique<ReadOnlyDisk>(journal_directory(state_dir));
}

std::filesystem::path journal_directory(const std::filesystem::path& state_dir) { return state_dir / "journal"; }

}  // namespace sluice
