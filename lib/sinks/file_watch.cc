// See the header. inotify watches the directory, because a watch on a file follows the file when it is renamed.
#include "sinks/file_watch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "sinks/descriptor.h"

namespace sluice {

namespace {

// Reads the pending events. True if one concerns a file whose name begins with `name`; an overflow may.
bool read_events(int descriptor, std::string_view name) {
  alignas(::inotify_event) std::array<char, 4096> bytes;
  bool found = false;
  for (ssize_t n = 0; (n = ::read(descriptor, bytes.data(), bytes.size())) > 0;) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
      ::inotify_event event;
      std::memcpy(&event, bytes.data() + at, sizeof event);
      const char* const file = bytes.data() + at + sizeof event;
      found = found || (event.mask & IN_Q_OVERFLOW) != 0 || (event.len > 0 && std::string_view(file).starts_with(name));
      at += sizeof event + event.len;
    }
  }
  return found;
}

void watch(const std::stop_token& stop, const Descriptor& events, const Descriptor& wake, std::string_view name,
           const std::function<void(const std::stop_token&)>& gone) {
  const std::stop_callback stopped(stop, [&wake] {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake.get(), &one, sizeof one));
  });
  while (!stop.stop_requested()) {
    std::array<::pollfd, 2> ready{{{events.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) > 0 && ready[0].revents != 0 && read_events(events.get(), name)) {
      gone(stop);
    }
  }
}

}  // namespace

FileWatch::FileWatch(const std::string& path, std::function<void(const std::stop_token&)> gone) {
  std::error_code unknown;
  const std::filesystem::path file = std::filesystem::weakly_canonical(path, unknown);
  Descriptor events(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  Descriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (unknown || !events.is_open() || !wake.is_open()) return;
  constexpr std::uint32_t kGone = IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;
  if (::inotify_add_watch(events.get(), file.parent_path().c_str(), kGone) < 0) return;
  try {
    thread_ = std::jthread([events = std::move(events), wake = std::move(wake), name = file.filename().string(),
                            gone = std::move(gone)](const std::stop_token& stop) {
      ::pthread_setname_np(::pthread_self(), "file-watch");
      watch(stop, events, wake, name, gone);
    });
  } catch (const std::system_error&) {
    // The system gives no more threads: no watch.
  }
}

}  // namespace sluice
