// The only file that sees libsystemd.
#include "host/service_manager.h"

#include <fmt/core.h>
#include <pthread.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace sluiced::host {

namespace {

// Messages that wait while the socket is full. Then a new one replaces the last: only the newest status matters.
constexpr std::size_t kMost = 8;

// As FileDescriptorStoreMax= of the unit. Six failed starts already give the longest pause.
constexpr std::size_t kMostFailedStarts = 6;
constexpr const char* kFailedStart = "failed-start";

// A start that takes longer hangs, and systemd may end it.
constexpr std::chrono::hours kLongestStart{1};

// Counts the descriptors of failed starts in systemd's store and closes our copies. Other descriptors stay open.
std::size_t take_failed_starts() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(0, &names);
  std::size_t failed = 0;
  for (int i = 0; i < count; ++i) {
    if (std::string(names[i]) == kFailedStart) {
      ++failed;
      ::close(SD_LISTEN_FDS_START + i);
    }
    std::free(names[i]);  // NOLINT(cppcoreguidelines-no-malloc): theirs is from malloc
  }
  std::free(static_cast<void*>(names));  // NOLINT(cppcoreguidelines-no-malloc)
  return failed;
}

std::string extension(std::chrono::nanoseconds needs) {
  return fmt::format("EXTEND_TIMEOUT_USEC={}\n", std::chrono::ceil<std::chrono::microseconds>(needs).count());
}

}  // namespace

struct ServiceManager::Mailbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> messages;  // guarded by mutex
  bool sending = false;              // guarded by mutex
  bool closed = false;               // guarded by mutex
  bool starting = true;              // guarded by mutex

  // Waits for a message. False: closed, and none will come.
  bool wait_message(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds beat,
                    std::chrono::steady_clock::time_point longest) {
    const auto something = [this] { return closed || !messages.empty(); };
    while (starting && std::chrono::steady_clock::now() < longest) {
      if (changed.wait_for(lock, beat, something)) return !messages.empty();
      if (starting) messages.push_back(extension(3 * beat));
    }
    changed.wait(lock, something);
    return !messages.empty();
  }

  void run(std::chrono::milliseconds beat) {
    const auto longest = std::chrono::steady_clock::now() + kLongestStart;
    std::unique_lock lock(mutex);
    while (wait_message(lock, beat, longest)) {
      const std::string message = std::move(messages.front());
      messages.pop_front();
      sending = true;
      lock.unlock();
      ::sd_notify(0, message.c_str());  // may block for as long as nobody reads the socket
      lock.lock();
      sending = false;
      changed.notify_all();
    }
  }
};

ServiceManager::ServiceManager(std::chrono::milliseconds beat) : failed_starts_(take_failed_starts()) {
  if (std::getenv("NOTIFY_SOCKET") == nullptr) return;
  mailbox_ = std::make_shared<Mailbox>();
  // Detached, and co-owner of the mailbox: a thread blocked by the socket could not be joined.
  std::thread([mailbox = mailbox_, beat] {
    ::pthread_setname_np(::pthread_self(), "notify");
    mailbox->run(beat);
  }).detach();
}

ServiceManager::~ServiceManager() {
  if (!mailbox_) return;
  std::unique_lock lock(mailbox_->mutex);
  mailbox_->closed = true;
  mailbox_->changed.notify_all();
  mailbox_->changed.wait_for(lock, std::chrono::milliseconds{20},
                             [this] { return mailbox_->messages.empty() && !mailbox_->sending; });
}

void ServiceManager::send(std::string message) {
  if (!mailbox_) return;
  const std::lock_guard lock(mailbox_->mutex);
  if (mailbox_->messages.size() >= kMost)
    mailbox_->messages.back() = std::move(message);
  else
    mailbox_->messages.push_back(std::move(message));
  mailbox_->changed.notify_all();
}

void ServiceManager::ready(const std::string& status) {
  if (!mailbox_) return;
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->starting = false;
  }
  send(fmt::format("READY=1\nSTATUS={}\nFDSTOREREMOVE=1\nFDNAME={}", status, kFailedStart));
}

std::chrono::seconds ServiceManager::start_failed(const std::string& why) {
  using std::chrono::seconds;
  if (!mailbox_) return seconds{0};
  if (failed_starts_ < kMostFailedStarts) {
    // A new file each time: systemd stores one descriptor per inode.
    const int token = ::memfd_create(kFailedStart, MFD_CLOEXEC);
    if (token >= 0) {
      const std::string message = fmt::format("FDSTORE=1\nFDNAME={}", kFailedStart);
      ::sd_pid_notify_with_fds(0, 0, message.c_str(), &token, 1);
      ::close(token);
    }
  }
  const seconds pause = pause_after(failed_starts_);
  if (pause > seconds{0}) status(fmt::format("tried again in {} s: {}", pause.count(), why), pause + seconds{10});
  constexpr std::uint64_t second = 1'000'000;  // microseconds
  ::sd_notify_barrier(0, second);
  return pause;
}

std::chrono::seconds pause_after(std::size_t failed_starts) noexcept {
  if (failed_starts == 0) return std::chrono::seconds{0};
  constexpr std::uint64_t longest = 30;
  const std::uint64_t doubled = std::uint64_t{1} << (std::min(failed_starts, kMostFailedStarts) - 1);
  return std::chrono::seconds{std::min(doubled, longest)};
}

void ServiceManager::stopping(std::chrono::nanoseconds needs) {
  send("STOPPING=1\n" + extension(needs) + "STATUS=closing");
}

void ServiceManager::status(const std::string& status) { send("STATUS=" + status); }

void ServiceManager::status(const std::string& status, std::chrono::nanoseconds needs) {
  send(extension(needs) + "STATUS=" + status);
}

}  // namespace sluiced::host
