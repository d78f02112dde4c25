// The calls themselves: they take the place of the C library's in this program.
#include "sync_spy.h"

#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

namespace {

struct Book {
  std::mutex mutex;
  // All guarded by mutex.
  bool open = false;
  std::vector<std::string> names;
  std::string failing;
  int error = 0;
};

Book& book() {
  static auto* const one = new Book;  // also for threads that outlive the tests
  return *one;
}

std::string name_of(int fd) {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path.data(), path.size());
  const std::string whole(path.data(), static_cast<std::size_t>(std::max<ssize_t>(0, size)));
  return whole.substr(whole.rfind('/') + 1);
}

int sync(long call, int fd) {
  Book& all = book();
  {
    const std::lock_guard lock(all.mutex);
    if (all.open && all.error != 0 && name_of(fd).ends_with(all.failing)) {
      errno = std::exchange(all.error, 0);
      return -1;
    }
  }
  const int result = static_cast<int>(::syscall(call, fd));
  const std::lock_guard lock(all.mutex);
  if (result == 0 && all.open) all.names.push_back(name_of(fd));
  return result;
}

}  // namespace

extern "C" {
int fsync(int fd) { return sync(SYS_fsync, fd); }
int fdatasync(int fd) { return sync(SYS_fdatasync, fd); }
}

SyncSpy::SyncSpy() {
  const std::lock_guard lock(book().mutex);
  book().open = true;
  book().names.clear();
  book().error = 0;
}

SyncSpy::~SyncSpy() {
  const std::lock_guard lock(book().mutex);
  book().open = false;
}

void SyncSpy::fail_once(std::string_view suffix, int error) {
  const std::lock_guard lock(book().mutex);
  book().failing = suffix;
  book().error = error;
}

std::vector<std::string> SyncSpy::take() {
  const std::lock_guard lock(book().mutex);
  return std::exchange(book().names, {});
}

std::size_t SyncSpy::count(std::string_view suffix) {
  return static_cast<std::size_t>(
      std::ranges::count_if(take(), [&](const auto& name) { return name.ends_with(suffix); }));
}
