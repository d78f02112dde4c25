// A server for tests of sluicectl, on a unix socket: what it answers, and what it counts, is the test's. One connection
// at a time, on a thread of its own.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "ctl/http_client.h"
#include "support/temp_dir.h"

namespace test {

// One connection of the server. Each call gives up once the client has gone.
class Peer {
 public:
  explicit Peer(int descriptor) : descriptor_(descriptor) {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { ::close(descriptor_); }

  // The head of the next request; empty if the client closed. (The bodies of these tests are short enough to come
  // along.)
  std::string read_head() {
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos) {
      char bytes[4096];
      const ssize_t n = ::recv(descriptor_, bytes, sizeof bytes, 0);
      if (n <= 0) return {};
      head.append(bytes, static_cast<std::size_t>(n));
    }
    return head;
  }
  // The body of the next request, by its Content-Length; nothing if the client closed. The head goes to `head`.
  std::optional<std::string> read_request(std::string& head) {
    const auto receive = [this] {
      char bytes[65536];
      const ssize_t n = ::recv(descriptor_, bytes, sizeof bytes, 0);
      if (n > 0) unread_.append(bytes, static_cast<std::size_t>(n));
      return n > 0;
    };
    std::size_t end = 0;
    while ((end = unread_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) return std::nullopt;
    }
    head = unread_.substr(0, end + 4);
    unread_.erase(0, end + 4);
    const std::size_t length = head.find("Content-Length: ");
    const std::size_t size = length == std::string::npos ? 0 : std::stoul(head.substr(length + 16));
    while (unread_.size() < size) {
      if (!receive()) return std::nullopt;
    }
    std::string body = unread_.substr(0, size);
    unread_.erase(0, size);
    return body;
  }
  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // True once the client has closed its end, false at the limit.
  bool wait_closed(std::chrono::milliseconds limit) {
    pollfd one{descriptor_, POLLRDHUP, 0};
    return ::poll(&one, 1, static_cast<int>(limit.count())) == 1;
  }

 private:
  const int descriptor_;
  std::string unread_;
};

// Serves each connection by `serve`, on a thread of its own, until it is destroyed.
class Server {
 public:
  explicit Server(std::function<void(Peer&)> serve, int family = AF_UNIX)
      : listener_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)), serve_(std::move(serve)) {
    if (family == AF_UNIX) {
      sockaddr_un at{};
      at.sun_family = AF_UNIX;
      address_.copy(at.sun_path, sizeof at.sun_path - 1);
      REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
      address_.insert(0, "unix:");
    } else {
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof at;
      REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
      REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
      address_ = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    }
    REQUIRE(::listen(listener_, 8) == 0);
    thread_ = std::jthread([this] {
      for (int one = -1; (one = ::accept(listener_, nullptr, nullptr)) >= 0;) {
        ++connections;
        Peer peer(one);
        serve_(peer);
      }
    });
  }
  ~Server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] sluicectl::Address address() const { return *sluicectl::parse_address(address_); }

  std::atomic<int> connections{0};

 private:
  const test::TempDir dir_;
  std::string address_ = (dir_.path() / "server").string();
  const int listener_;
  const std::function<void(Peer&)> serve_;
  std::jthread thread_;
};

inline std::string answer_of(std::string_view body, std::string_view status = "202 Accepted") {
  return "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

}  // namespace test
