// What we tell systemd: READY, STOPPING, STATUS, and how much more time we need. Sent by a thread of its own, since
// systemd's socket may be full and must not hold up a stop; without NOTIFY_SOCKET there is no thread and nothing is
// sent.
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace sluiced::host {

class ServiceManager {
 public:
  ServiceManager();
  ~ServiceManager();  // waits 20 ms at most for what is not sent yet
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  void ready(const std::string& status);
  // `needs`: from now, all of it; systemd's own time-out is moved there.
  void stopping(std::chrono::nanoseconds needs);
  void status(const std::string& status);
  void status(const std::string& status, std::chrono::nanoseconds needs);

 private:
  struct Mailbox;
  void send(std::string message);

  std::shared_ptr<Mailbox> mailbox_;  // owners: this, and the thread, which is left behind if the socket holds it
};

}  // namespace sluiced::host
