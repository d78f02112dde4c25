// Preloaded into the daemon: the system calls by which files are changed, each of them as ever, unless the page of a
// test (support/bad_disk_control.h) says otherwise and the file is below the directory of the bad disk. It refuses
// nothing else; of reading, a stretch of one file at most. Any thread, signal handlers too.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

#include "support/bad_disk_control.h"

namespace {

using test::BadDiskControl;
using test::DiskCall;

// Constant once the library is loaded. No control: nothing is bad.
BadDiskControl* control = nullptr;
std::array<char, PATH_MAX> below{};

__attribute__((constructor)) void find_page() {
  const char* const page = std::getenv(test::kBadDiskPage);
  const char* const directory = std::getenv(test::kBadDiskBelow);
  if (page == nullptr || directory == nullptr) return;
  std::snprintf(below.data(), below.size(), "%s", directory);
  const int fd = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, page, O_RDWR | O_CLOEXEC));
  void* const mapped = ::mmap(nullptr, sizeof(BadDiskControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) std::abort();  // or the test would show nothing
  ::close(fd);
  control = static_cast<BadDiskControl*>(mapped);
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

bool is_below(std::string_view path) { return path.starts_with(below.data()); }

// The name behind a descriptor; empty if there is none. `path` holds it.
std::string_view name_of(int fd, std::array<char, PATH_MAX>& path) {
  std::array<char, 64> link{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  const ssize_t size = ::readlink(link.data(), path.data(), path.size());
  return {path.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

bool is_below(int fd) {
  std::array<char, PATH_MAX> path{};
  return is_below(name_of(fd, path));
}

// Enters what was done.
void note(std::string_view what, std::string_view path) {
  if (control == nullptr || !is_below(path)) return;
  const std::string_view name = path.substr(path.rfind('/') + 1);
  std::array<char, 300> line{};
  const int size = std::snprintf(line.data(), line.size(), "%.*s %.*s\n", static_cast<int>(what.size()), what.data(),
                                 static_cast<int>(name.size()), name.data());
  if (size <= 0 || static_cast<std::size_t>(size) >= line.size()) return;
  const auto bytes = static_cast<std::size_t>(size);
  const std::size_t at = control->diary_bytes.fetch_add(bytes);
  if (at + bytes <= BadDiskControl::kDiaryBytes) std::memcpy(control->diary.data() + at, line.data(), bytes);
}

void note(std::string_view what, int fd) {
  if (control == nullptr || control->diary_bytes.load() >= BadDiskControl::kDiaryBytes) return;
  const int error = errno;
  std::array<char, PATH_MAX> path{};
  note(what, name_of(fd, path));
  errno = error;
}

// How this call is to end; what is held waits here.
template <class File>
int verdict_on(DiskCall call, File file) {
  if (control == nullptr) return BadDiskControl::kFine;
  const std::atomic<int>& how = control->of[static_cast<std::size_t>(call)];
  if (how.load() == BadDiskControl::kFine || !is_below(file)) return BadDiskControl::kFine;
  if (how.load() == BadDiskControl::kHeld) {
    control->held.fetch_add(1);
    const timespec little{0, 1'000'000};
    while (how.load() == BadDiskControl::kHeld) ::nanosleep(&little, nullptr);
    control->held.fetch_sub(1);
  }
  return how.load();
}

int fail(int verdict) {
  control->struck.fetch_add(1);
  errno = verdict & ~BadDiskControl::kTorn;
  return -1;
}

// A call that is done or not.
template <class File, class Call>
int do_or_fail(DiskCall kind, File file, Call call) {
  const int verdict = verdict_on(kind, file);
  return verdict == BadDiskControl::kFine ? call() : fail(verdict);
}

// A write of `size` bytes; call(n) writes the first n of them.
template <class Call>
ssize_t write_some(int fd, std::size_t size, Call call) {
  thread_local bool torn = false;
  const int verdict = verdict_on(DiskCall::write, fd);
  if (verdict == BadDiskControl::kFine || size <= control->spared_bytes.load()) {
    const ssize_t written = call(size);
    if (written > 0) note("write", fd);
    return written;
  }
  if (verdict == BadDiskControl::kShort) {
    control->struck.fetch_add(1);
    return call(std::max<std::size_t>(1, size / 3));
  }
  if ((verdict & BadDiskControl::kTorn) != 0 && !torn && size > 1) {
    torn = true;
    control->struck.fetch_add(1);
    return call(size / 2);
  }
  torn = false;
  return fail(verdict);
}

std::size_t size_of(const iovec* pieces, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += pieces[i].iov_len;
  return size;
}

// Calls `write` with the first n bytes of the pieces.
template <class Write>
ssize_t first_of(const iovec* pieces, int count, std::size_t n, Write write) {
  constexpr std::size_t kPieces = IOV_MAX;
  std::array<iovec, kPieces> some;
  int used = 0;
  for (; used < count && n > 0; ++used) {
    iovec& piece = some[static_cast<std::size_t>(used)];
    piece = pieces[used];
    piece.iov_len = std::min(piece.iov_len, n);
    n -= piece.iov_len;
  }
  return write(some.data(), used);
}

int open_or_fail(const char* path, int flags, int (*call)(const char*, int, ...), mode_t mode) {
  const auto go = [&] { return call(path, flags, mode); };
  return (flags & O_ACCMODE) == O_RDONLY ? go() : do_or_fail(DiskCall::name, std::string_view(path), go);
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* from, std::size_t size) {
  static const auto call = real<decltype(write)>("write");
  return write_some(fd, size, [&](std::size_t n) { return call(fd, from, n); });
}

ssize_t pwrite(int fd, const void* from, std::size_t size, off_t offset) {
  static const auto call = real<decltype(pwrite)>("pwrite");
  return write_some(fd, size, [&](std::size_t n) { return call(fd, from, n, offset); });
}

int statfs(const char* path, struct statfs* to) {
  static const auto call = real<int(const char*, struct statfs*)>("statfs");
  const int code = call(path, to);
  const std::uint32_t type = control != nullptr ? control->file_system.load() : 0;
  if (code == 0 && type != 0 && is_below(std::string_view(path))) to->f_type = type;
  return code;
}

ssize_t pwrite64(int fd, const void* from, std::size_t size, off64_t offset) { return pwrite(fd, from, size, offset); }

ssize_t writev(int fd, const iovec* pieces, int count) {
  static const auto call = real<decltype(writev)>("writev");
  return write_some(fd, size_of(pieces, count), [&](std::size_t n) {
    return first_of(pieces, count, n, [&](const iovec* some, int used) { return call(fd, some, used); });
  });
}

ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  static const auto call = real<decltype(pwritev)>("pwritev");
  return write_some(fd, size_of(pieces, count), [&](std::size_t n) {
    return first_of(pieces, count, n, [&](const iovec* some, int used) { return call(fd, some, used, offset); });
  });
}

ssize_t pwritev64(int fd, const iovec* pieces, int count, off64_t offset) { return pwritev(fd, pieces, count, offset); }

ssize_t pread(int fd, void* to, size_t size, off_t offset) {
  static const auto call = real<decltype(pread)>("pread");
  const auto from = static_cast<std::size_t>(offset);
  if (control == nullptr || from + size <= control->unreadable_from.load() || from >= control->unreadable_to.load()) {
    return call(fd, to, size, offset);
  }
  std::array<char, PATH_MAX> path{};
  if (name_of(fd, path) != below.data()) return call(fd, to, size, offset);
  if (from >= control->unreadable_from.load()) return fail(EIO);
  return call(fd, to, control->unreadable_from.load() - from, offset);
}

ssize_t pread64(int fd, void* to, size_t size, off64_t offset) { return pread(fd, to, size, offset); }

int fsync(int fd) {
  static const auto call = real<decltype(fsync)>("fsync");
  const int done = do_or_fail(DiskCall::sync, fd, [&] { return call(fd); });
  if (done == 0) note("sync", fd);
  return done;
}

int fdatasync(int fd) {
  static const auto call = real<decltype(fdatasync)>("fdatasync");
  const int done = do_or_fail(DiskCall::sync, fd, [&] { return call(fd); });
  if (done == 0) note("sync", fd);
  return done;
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  static const auto call = real<decltype(fallocate)>("fallocate");
  return do_or_fail(DiskCall::allocate, fd, [&] { return call(fd, mode, offset, size); });
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size) { return fallocate(fd, mode, offset, size); }

int ftruncate(int fd, off_t size) noexcept {
  static const auto call = real<int(int, off_t)>("ftruncate");
  return do_or_fail(DiskCall::resize, fd, [&] { return call(fd, size); });
}

int ftruncate64(int fd, off64_t size) noexcept { return ftruncate(fd, size); }

int open(const char* path, int flags, ...) {
  static const auto call = real<int(const char*, int, ...)>("open");
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open_or_fail(path, flags, call, mode);
}

int open64(const char* path, int flags, ...) {
  static const auto call = real<int(const char*, int, ...)>("open64");
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open_or_fail(path, flags, call, mode);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto call = real<int(const char*, mode_t)>("mkdir");
  struct stat there {};
  if (::stat(path, &there) == 0) return call(path, mode);  // so it fails as ever: that it is there comes first
  return do_or_fail(DiskCall::name, std::string_view(path), [&] { return call(path, mode); });
}

int rename(const char* from, const char* to) noexcept {
  static const auto call = real<int(const char*, const char*)>("rename");
  return do_or_fail(DiskCall::name, std::string_view(to), [&] { return call(from, to); });
}

int unlink(const char* path) noexcept {
  static const auto call = real<int(const char*)>("unlink");
  const int done = do_or_fail(DiskCall::name, std::string_view(path), [&] { return call(path); });
  if (done == 0) note("unlink", std::string_view(path));
  return done;
}

}  // extern "C"
