// What we tell systemd: READY, STOPPING, STATUS, and how much more time we need. Sent by a thread of its own, since
// systemd's socket may be full and must not hold up a stop; without NOTIFY_SOCKET there is no thread and nothing is
// sent. While the start lasts, the thread asks for more time for it: a large journal takes a while to read.
//
// systemd also remembers for us how many starts have failed in a row: as many descriptors as that are in its store,
// which it keeps while it starts us again by itself and drops when somebody stops the service. No file could tell as
// well, least of all on a disk that is the reason.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace sluiced::host {

class ServiceManager {
 public:
  // Until ready() the start's time-out is moved ahead again and again, this often.
  explicit ServiceManager(std::chrono::milliseconds beat = std::chrono::seconds{10});
  ~ServiceManager();  // waits 20 ms at most for what is not sent yet
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // The start has succeeded; those that failed before it are forgotten.
  void ready(const std::string& status);
  // This start has failed too, for a reason that may pass. How long to wait before the process ends and systemd starts
  // the next: not at all, then 1 s, and each time twice as long. Blocks until systemd knows it, 1 s at most.
  [[nodiscard]] std::chrono::seconds start_failed(const std::string& why);
  // `needs`: from now, all of it; systemd's own time-out is moved there.
  void stopping(std::chrono::nanoseconds needs);
  void status(const std::string& status);
  void status(const std::string& status, std::chrono::nanoseconds needs);

 private:
  struct Mailbox;
  void send(std::string message);

  std::shared_ptr<Mailbox> mailbox_;  // owners: this, and the thread, which is left behind if the socket holds it
  std::size_t failed_starts_ = 0;     // in a row, before this one
};

// The wait before the next start, when so many have failed in a row before this one: 0, 1, 2, 4 … 30 s.
[[nodiscard]] std::chrono::seconds pause_after(std::size_t failed_starts) noexcept;

}  // namespace sluiced::host
