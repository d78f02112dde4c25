// Plain sockets and just enough of HTTP to read an answer.
#include "support/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace test {
namespace {

Fd connected(int family, int type, const sockaddr* to, socklen_t size, int receive_bytes) {
  Fd fd(must(::socket(family, type | SOCK_CLOEXEC, 0), "socket"));
  if (receive_bytes > 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    // The other end's buffer is measured in segments, and loopback's would be so large that nothing ever waited.
    const int segment = 1460;
    if (family != AF_UNIX) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  }
  const int on = 1;
  if (family != AF_UNIX) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int result = ::connect(fd.get(), to, size);
  if (result < 0 && errno == EINPROGRESS) return fd;
  must(result, "connect");
  return fd;
}

std::string lower(std::string_view text) {
  std::string all(text);
  std::transform(all.begin(), all.end(), all.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return all;
}

int milliseconds_until(Clock::time_point until) {
  return static_cast<int>(
      std::max<milliseconds::rep>(0, std::chrono::ceil<milliseconds>(until - Clock::now()).count()));
}

// The head of an answer, up to its empty line; throws if it is none, since a daemon that sends such a thing is wrong.
Answer parse_head(std::string_view head) {
  Answer answer;
  if (!head.starts_with("HTTP/1.") || head.size() < 12) throw std::runtime_error("no answer: " + std::string(head));
  answer.status = std::stoi(std::string(head.substr(9, 3)));
  for (auto at = head.find("\r\n"); at != std::string_view::npos;) {
    const auto begin = at + 2;
    at = head.find("\r\n", begin);
    const auto line = head.substr(begin, at == std::string_view::npos ? at : at - begin);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) throw std::runtime_error("no header: " + std::string(line));
    auto value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    answer.headers[lower(line.substr(0, colon))] = std::string(value);
  }
  return answer;
}

}  // namespace

Fd connect_to(const std::string& address, int type, int receive_bytes) {
  if (address.starts_with("unix:")) {
    const std::string path = address.substr(5);
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    if (path.size() >= sizeof to.sun_path) throw std::runtime_error("too long for a unix socket: " + path);
    std::memcpy(to.sun_path, path.data(), path.size());
    return connected(AF_UNIX, type, reinterpret_cast<const sockaddr*>(&to), sizeof to, receive_bytes);
  }
  const auto colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  const auto port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  if (host.starts_with('[')) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = port;
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &to.sin6_addr) != 1) throw std::runtime_error("no address: " + address);
    return connected(AF_INET6, type, reinterpret_cast<const sockaddr*>(&to), sizeof to, receive_bytes);
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = port;
  if (::inet_pton(AF_INET, host.c_str(), &to.sin_addr) != 1) throw std::runtime_error("no address: " + address);
  return connected(AF_INET, type, reinterpret_cast<const sockaddr*>(&to), sizeof to, receive_bytes);
}

Client::Client(const std::string& address) : fd_(connect_to(address, SOCK_STREAM)) {}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    pollfd one{fd_.get(), POLLOUT, 0};
    if (::poll(&one, 1, 5000) <= 0) return false;
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) {
      reset_ = errno == ECONNRESET || errno == EPIPE;
      return false;
    }
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void Client::finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }

Client::More Client::read_more(Clock::time_point until) {
  pollfd one{fd_.get(), POLLIN, 0};
  if (::poll(&one, 1, milliseconds_until(until)) <= 0) return More::limit;
  std::array<char, 16384> bytes;
  const ssize_t n = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (n < 0) reset_ = reset_ || errno == ECONNRESET;
  if (n <= 0) return More::end;
  received_.append(bytes.data(), static_cast<std::size_t>(n));
  return More::bytes;
}

std::optional<Answer> Client::read_head(milliseconds limit) {
  const auto until = Clock::now() + limit;
  std::size_t head_end = 0;
  while ((head_end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (read_more(until) != More::bytes) return std::nullopt;
  }
  Answer answer = parse_head(std::string_view(received_).substr(0, head_end));
  received_.erase(0, head_end + 4);
  return answer;
}

std::optional<Answer> Client::read_answer(milliseconds limit) {
  const auto until = Clock::now() + limit;
  std::optional<Answer> head = read_head(limit);
  if (!head) return std::nullopt;
  Answer answer = std::move(*head);
  if (answer.status / 100 == 1 || answer.status == 204) return answer;
  const std::string length = answer.header("content-length");
  if (length.empty()) throw std::runtime_error("an answer without Content-Length");
  const std::size_t size = std::stoul(length);
  while (received_.size() < size) {
    if (read_more(until) != More::bytes) return std::nullopt;
  }
  answer.body = received_.substr(0, size);
  received_.erase(0, size);
  return answer;
}

Answer Client::ask(std::string_view request) {
  send(request);  // an answer may come before all is sent
  return read_answer().value_or(Answer{});
}

bool Client::wait_closed(milliseconds limit) {
  return received_.empty() && read_more(Clock::now() + limit) == More::end;
}

std::string post(std::string_view content_type, std::string_view body, std::string_view headers) {
  return fmt::format(
      "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}\r\n{}", content_type,
      body.size(), headers, body);
}

std::string get(std::string_view path) { return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path); }

Answer ask_once(const std::string& address, std::string_view request) { return Client(address).ask(request); }

Answer ask_until(const std::string& address, std::string_view request, int status, milliseconds limit) {
  const auto until = Clock::now() + limit;
  for (;;) {
    Answer answer = ask_once(address, request);
    if (answer.status == status || Clock::now() > until) return answer;
    std::this_thread::sleep_for(milliseconds(10));  // between looks
  }
}

std::size_t status_number(const std::string& admin, std::string_view name) {
  const std::string body = ask_once(admin, get("/status")).body;
  const std::string key = fmt::format("\"{}\":", name);
  const auto at = body.find(key);
  if (at == std::string::npos) throw std::runtime_error(fmt::format("no {} in /status: {}", name, body));
  return std::stoul(body.substr(at + key.size()));
}

bool wait_status_number(const std::string& admin, std::string_view name, std::size_t wanted, milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (status_number(admin, name) != wanted) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(2));  // between looks
  }
  return true;
}

}  // namespace test
