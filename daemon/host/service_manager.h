// Notifications to systemd: READY, STOPPING, STATUS, and requests for more time. A thread of its own sends them,
// because systemd's socket may be full and must not delay a stop. Without NOTIFY_SOCKET there is no thread, and nothing
// is sent. During the start the thread keeps extending its time-out: a large journal takes a while to read.
//
// systemd also counts the starts that failed in a row: each leaves a descriptor in its store, which systemd keeps
// across automatic restarts and drops when the service is stopped. A file could not count them on a disk that is the
// cause.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace sluiced::host {

class ServiceManager {
 public:
  // Until ready(), every `beat` extends the time-out of the start.
  explicit ServiceManager(std::chrono::milliseconds beat = std::chrono::seconds{10});
  ~ServiceManager();  // waits at most 20 ms for messages that are not sent yet
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // The start has succeeded; clears the count of failed starts.
  void ready(const std::string& status);
  // This start has failed for a reason that may pass. Returns how long to wait before the process exits and systemd
  // starts the next: see pause_after(). Blocks until systemd has read the message, at most 1 s.
  [[nodiscard]] std::chrono::seconds start_failed(const std::string& why);
  // `needs`: time from now until the exit; systemd's time-out moves there.
  void stopping(std::chrono::nanoseconds needs);
  void status(const std::string& status);
  void status(const std::string& status, std::chrono::nanoseconds needs);

 private:
  struct Mailbox;
  void send(std::string message);

  std::shared_ptr<Mailbox> mailbox_;  // owners: this, and the thread, which is left behind if the socket blocks it
  std::size_t failed_starts_ = 0;     // in a row, before this one
};

// The wait before the next start, after so many failed starts before this one: 0, 1, 2, 4 … 30 s.
[[nodiscard]] std::chrono::seconds pause_after(std::size_t failed_starts) noexcept;

}  // namespace sluiced::host
