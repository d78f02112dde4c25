// A client of the HTTP server for its tests: connects, sends what bytes it likes, takes answers apart. Each on the
// thread that uses it. It waits for conditions, and for none longer than kPatience.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "http/server.h"

namespace http_support {

using namespace std::chrono_literals;
using sluiced::http::Clock;

// Far more than anything here takes; a sanitizer makes memory slow.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr auto kPatience = 60000ms;
#else
inline constexpr auto kPatience = 5000ms;
#endif

inline bool eventually(const std::function<bool()>& holds) {
  for (const auto end = Clock::now() + kPatience; Clock::now() < end;) {
    if (holds()) return true;
    std::this_thread::yield();
  }
  return holds();
}

struct Answer {
  int status = 0;  // 0: the connection ended without one
  std::string head, body;

  [[nodiscard]] bool has(const std::string& line) const {
    return head.find("\r\n" + line + "\r\n") != std::string::npos;
  }
};

// One client's socket.
class Client {
 public:
  explicit Client(const std::string& address) {
    if (address.starts_with("unix:")) {
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      address.substr(5).copy(to.sun_path, sizeof to.sun_path - 1);
      fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    }
  }
  explicit Client(int connected) : fd_(connected), connected_(true) {}
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_; }

  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  // The next answer, or status 0 when the server has closed.
  Answer receive(bool with_body = true) {
    Answer answer;
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return answer;
    }
    answer.head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    answer.status = std::stoi(answer.head.substr(9, 3));
    const std::size_t at = answer.head.find("Content-Length: ");
    const std::size_t size = at == std::string::npos || !with_body ? 0 : std::stoul(answer.head.substr(at + 16));
    while (buffer_.size() < size) {
      if (!fill()) return {};
    }
    answer.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return answer;
  }

  Answer ask(std::string_view request) {
    send(request);
    return receive();
  }

  // The server closes, and has nothing more to say.
  bool ends() { return buffer_.empty() && !fill() && ended_; }

  // Nothing has come by now.
  bool silent() {
    pollfd now{fd_, POLLIN, 0};
    return buffer_.empty() && ::poll(&now, 1, 0) == 0;
  }

 private:
  bool fill() {
    pollfd waited{fd_, POLLIN, 0};
    if (::poll(&waited, 1, static_cast<int>(kPatience.count())) != 1) return false;
    std::array<char, 65536> bytes;
    const ssize_t size = ::recv(fd_, bytes.data(), bytes.size(), 0);
    ended_ = size <= 0;
    if (ended_) return false;
    buffer_.append(bytes.data(), static_cast<std::size_t>(size));
    return true;
  }

  int fd_ = -1;
  bool connected_ = false;
  bool ended_ = false;
  std::string buffer_;
};

inline std::string post(std::string_view body, const std::string& type = "text/plain", const std::string& fields = "") {
  return "POST /v1/events HTTP/1.1\r\nHost: a\r\n" + (type.empty() ? "" : "Content-Type: " + type + "\r\n") + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

inline std::string get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"; }

}  // namespace http_support
