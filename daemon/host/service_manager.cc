// The only file that sees libsystemd.
#include "host/service_manager.h"

#include <fmt/core.h>
#include <pthread.h>
#include <systemd/sd-daemon.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace sluiced::host {

namespace {

// Messages that wait while the socket is full. A status is worth nothing once there is a newer one.
constexpr std::size_t kMost = 8;

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

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return closed || !messages.empty(); });
      if (messages.empty()) return;
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

ServiceManager::ServiceManager() {
  if (std::getenv("NOTIFY_SOCKET") == nullptr) return;
  mailbox_ = std::make_shared<Mailbox>();
  // Let go from the start, with the mailbox its own: nobody can join a thread that the socket holds.
  std::thread([mailbox = mailbox_] {
    ::pthread_setname_np(::pthread_self(), "notify");
    mailbox->run();
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

void ServiceManager::ready(const std::string& status) { send("READY=1\nSTATUS=" + status); }

void ServiceManager::stopping(std::chrono::nanoseconds needs) {
  send("STOPPING=1\n" + extension(needs) + "STATUS=closing");
}

void ServiceManager::status(const std::string& status) { send("STATUS=" + status); }

void ServiceManager::status(const std::string& status, std::chrono::nanoseconds needs) {
  send(extension(needs) + "STATUS=" + status);
}

}  // namespace sluiced::host
