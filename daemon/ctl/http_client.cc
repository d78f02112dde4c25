// Plain sockets. See the header.
#include "ctl/http_client.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

namespace sluicectl {

namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20U;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// The value of a header, whose name is given in lower case; nothing if there is none.
std::optional<std::string_view> header(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    const std::size_t end = std::min(head.find('\n'), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 1, head.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    if (std::ranges::equal(line.substr(0, colon), name, {}, lower)) return trimmed(line.substr(colon + 1));
  }
  return std::nullopt;
}

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

void limit_waits(int descriptor, std::chrono::seconds limit) {
  const timeval time{.tv_sec = limit.count(), .tv_usec = 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

}  // namespace

std::optional<Address> parse_address(std::string_view text) {
  Address address;
  address.shown = text;
  if (text.starts_with("unix:")) {
    address.path = text.substr(5);
    const bool fits = !address.path.empty() && address.path.size() < sizeof(sockaddr_un::sun_path);
    return fits ? std::optional(address) : std::nullopt;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  address.port = text.substr(colon + 1);
  const bool brackets = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (brackets) host = host.substr(1, host.size() - 2);
  address.host = host;
  const bool good = !host.empty() && host.find_first_of("[]/ @") == std::string_view::npos &&
                    (brackets || host.find(':') == std::string_view::npos) && is_number(address.port) &&
                    number<std::uint16_t>(address.port).has_value();
  return good ? std::optional(address) : std::nullopt;
}

std::optional<Url> parse_url(std::string_view text) {
  std::string target = "/v1/events";
  constexpr std::string_view kScheme = "http://";
  if (text.starts_with(kScheme)) {
    text.remove_prefix(kScheme.size());
    const std::size_t slash = std::min(text.find('/'), text.size());
    if (slash + 1 < text.size()) target = text.substr(slash);
    text = text.substr(0, slash);
  }
  const bool clean = std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7F; });
  std::optional<Address> address = parse_address(text);
  if (!address && text.find("://") == std::string_view::npos) address = parse_address(std::string(text) + ":80");
  if (!address || !clean) return std::nullopt;
  return Url{*std::move(address), std::move(target)};
}

HttpClient::HttpClient(Address address, std::chrono::seconds limit) : address_(std::move(address)), limit_(limit) {}

HttpClient::~HttpClient() { close(); }

void HttpClient::close() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  received_.clear();
  ended_ = false;
}

void HttpClient::say(std::string_view step, int error) {
  error_ = std::string(step) + " " + address_.shown + ": " +
           (error == EAGAIN ? "no progress in time" : std::generic_category().message(error));
}

bool HttpClient::connect_unix() {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  address_.path.copy(to.sun_path, sizeof to.sun_path - 1);
  descriptor_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor_ >= 0) limit_waits(descriptor_, limit_);
  if (descriptor_ >= 0 && ::connect(descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return true;
  say("connect to", errno);
  close();
  return false;
}

bool HttpClient::connect() {
  if (!address_.path.empty()) return connect_unix();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address_.host.c_str(), address_.port.c_str(), &hints, &found); error != 0) {
    error_ = "connect to " + address_.shown + ": " + ::gai_strerror(error);
    return false;
  }
  int error = ECONNREFUSED;
  for (const addrinfo* one = found; one != nullptr && descriptor_ < 0; one = one->ai_next) {
    descriptor_ = ::socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
    if (descriptor_ < 0) {
      error = errno;
      continue;
    }
    limit_waits(descriptor_, limit_);
    if (::connect(descriptor_, one->ai_addr, one->ai_addrlen) == 0) break;
    error = errno == EINPROGRESS ? EAGAIN : errno;
    close();
  }
  ::freeaddrinfo(found);
  if (descriptor_ < 0) say("connect to", error);
  return descriptor_ >= 0;
}

// An idle connection on which something has arrived is one that the server has closed.
bool HttpClient::is_stale() const {
  pollfd one{descriptor_, POLLIN, 0};
  return ::poll(&one, 1, 0) != 0;
}

bool HttpClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      say("send to", errno);
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool HttpClient::read_more() {
  std::array<char, 65536> bytes;
  for (;;) {
    const ssize_t n = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) {
      received_.append(bytes.data(), static_cast<std::size_t>(n));
      if (received_.size() > kMostBytes) {
        say("read from", EMSGSIZE);
        return false;
      }
      return true;
    }
    ended_ = n == 0;
    if (n < 0) say("read from", errno);
    if (n == 0) error_ = "read from " + address_.shown + ": closed without an answer";
    return false;
  }
}

bool HttpClient::read_chunks(std::string& body) {
  for (;;) {
    std::size_t line = 0;
    while ((line = received_.find("\r\n")) == std::string::npos) {
      if (!read_more()) return false;
    }
    const auto size = number<std::size_t>(received_, 16);
    if (!size || *size > kMostBytes) return false;
    received_.erase(0, line + 2);
    while (received_.size() < *size + 2) {
      if (!read_more()) return false;
    }
    body.append(received_, 0, *size);
    received_.erase(0, *size + 2);
    if (*size == 0) return true;
  }
}

bool HttpClient::read_body(std::string_view head, Answer& answer) {
  const auto coding = header(head, "transfer-encoding");
  if (coding && *coding == "chunked") return read_chunks(answer.body);
  if (const auto length = header(head, "content-length")) {
    const auto size = number<std::size_t>(*length);
    if (!size || *size > kMostBytes) return false;
    while (received_.size() < *size) {
      if (!read_more()) return false;
    }
    answer.body = received_.substr(0, *size);
    received_.erase(0, *size);
    return true;
  }
  while (read_more()) {
  }
  answer.body = std::exchange(received_, {});
  return ended_;
}

bool HttpClient::read_answer(bool has_body, Answer& answer) {
  for (;;) {
    std::size_t end = 0;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) return false;
    }
    const std::string head = received_.substr(0, end);
    received_.erase(0, end + 4);
    const std::string_view status = std::string_view(head).substr(std::min(head.size(), std::size_t{9}));
    const auto code = number<int>(status);
    if (!head.starts_with("HTTP/1.") || !code) {
      error_ = "read from " + address_.shown + ": not HTTP";
      return false;
    }
    if (*code >= 100 && *code < 200) continue;
    answer = {};
    answer.status = *code;
    if (const auto after = header(head, "retry-after")) {
      if (const auto seconds = number<std::int32_t>(*after)) answer.retry_after = std::chrono::seconds(*seconds);
    }
    const bool empty = !has_body || *code == 204 || *code == 304;
    if (!empty && !read_body(head, answer)) return false;
    const auto connection = header(head, "connection");
    if (ended_ || !head.starts_with("HTTP/1.1") ||
        (connection && std::ranges::equal(*connection, std::string_view("close"), {}, lower))) {
      close();
    }
    return true;
  }
}

HttpClient::Result HttpClient::ask(std::string_view method, std::string_view target, std::string_view content_type,
                                   std::string_view body, Answer& answer) {
  if (descriptor_ >= 0 && is_stale()) close();
  if (descriptor_ < 0 && !connect()) return Result::no_connection;
  const bool number_of_v6 = address_.host.find(':') != std::string::npos;
  std::string host = address_.path.empty() ? address_.host : "localhost";
  if (number_of_v6) host = "[" + host + "]";
  if (!address_.port.empty()) host += ":" + address_.port;
  std::string head;
  head.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: ").append(host).append("\r\n");
  if (!content_type.empty()) head.append("Content-Type: ").append(content_type).append("\r\n");
  if (method != "GET") head.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  head.append("\r\n");
  // A server may answer, and close, before it has read all: its answer is looked for in any case.
  const bool sent = send(head) && send(body);
  const std::string why = error_;
  if (read_answer(method != "HEAD", answer)) {
    if (!sent) close();
    return Result::answered;
  }
  if (!sent) error_ = why;
  close();
  return Result::no_answer;
}

}  // namespace sluicectl
