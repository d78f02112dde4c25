// Accepts connections from one listener and gives each to a function. Lives on the first io thread. While the process
// has no descriptor left it pauses; over-many connections it answers with 503 and closes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "http/connection.h"
#include "http/event_loop.h"
#include "http/listener.h"

namespace sluiced::http {

class IoThread;

class Acceptor final : public EventLoop::Watcher {
 public:
  using HandOver = std::function<void(const Accepted& accepted)>;

  // Accepts from here until close(). Both outlive it. Throws std::system_error.
  Acceptor(IoThread& thread, Listener& listener, HandOver hand_over);
  ~Acceptor() override;
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  void on_ready(std::uint32_t events) override;
  void accept_waiting();   // all that the listen queue holds
  void resume() noexcept;  // after a pause
  void close();            // closes the listener, too

 private:
  [[nodiscard]] bool accept_some(int at_most);
  void admit(int fd);
  void turn_away(int fd, std::string_view why);
  void log_failure(int error);

  IoThread& thread_;
  Listener& listener_;
  const HandOver hand_over_;
  bool open_ = true;
  bool paused_ = false;
};

}  // namespace sluiced::http
