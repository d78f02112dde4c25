// See the header. inotify watches the directory, since a watch on the file would follow it to its next name.
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

namespace sluice {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const noexcept { return number_; }

 private:
  int number_;
};

// Reads what has happened; true if some of it was to a file of such a name. An overflow may have been.
bool read_events(int descriptor, std::string_view name) {
  alignas(::inotify_event) std::array<char, 4096> bytes;
  bool found = false;
  for (ssize_t n = 0; (n = ::read(descriptor, bytes.data(), bytes.size())) > 0;) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
      ::inotify_event event;
      std::memcpy(&event, bytes.data() + at, sizeof event);
      const char* const its_name = bytes.data() + at + sizeof event;
      found =
          found || (event.mask & IN_Q_OVERFLOW) != 0 || (event.len > 0 && std::string_view(its_name).starts_with(name));
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
  if (unknown || events.get() < 0 || wake.get() < 0) return;
  constexpr std::uint32_t kGone = IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;
  if (::inotify_add_watch(events.get(), file.parent_path().c_str(), kGone) < 0) return;
  try {
    thread_ = std::jthread([events = std::move(events), wake = std::move(wake), name = file.filename().string(),
                            gone = std::move(gone)](const std::stop_token& stop) {
      ::pthread_setname_np(::pthread_self(), "file-watch");
      watch(stop, events, wake, name, gone);
    });
  } catch (const std::system_error&) {
    // The system has no more threads to give.
  }
}

}  // namespace sluice
