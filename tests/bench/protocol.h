// How the load speaks to each server: what it says when it has connected, what a request is, and where an answer ends.
// Of an answer it looks at no more than that and at whether it means yes.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "bench/request.h"

namespace bench {

struct Answer {
  std::size_t size = 0;  // bytes; 0: it is not all there
  bool counts = true;    // not: something that the server says unasked
  bool yes = true;
};

class Protocol {
 public:
  explicit Protocol(std::string one) : request(std::move(one)) {}
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  const std::string request;
  std::string greeting;  // what is sent first, and has no answer that counts
  bool has_answers = true;

  // The answer that `text` begins with.
  virtual Answer next(std::string_view text) = 0;

 protected:
  // An answer of one line.
  static Answer line(std::string_view text, std::string_view yes) {
    const std::size_t end = text.find('\n');
    return end == std::string_view::npos ? Answer{} : Answer{end + 1, true, text.starts_with(yes)};
  }
};

// The limit's: three bytes.
class Raw final : public Protocol {
 public:
  Raw(std::size_t events, std::size_t bytes) : Protocol(request_of(events, bytes)) {}
  Answer next(std::string_view text) override { return {text.size() < 3 ? 0U : 3U}; }
};

// HTTP. All heads look alike: where the length stands in the first tells it for the others.
class Http final : public Protocol {
 public:
  Http(std::size_t events, std::size_t bytes) : Protocol(request_of(events, bytes)) {}

  Answer next(std::string_view text) override {
    if (!like_the_last(text) && !learn(text)) return {};
    std::size_t size = head_;
    if (length_at_ != 0) {
      std::size_t length = 0;
      for (std::size_t at = length_at_; text[at] != '\r'; ++at)
        length = 10 * length + static_cast<unsigned>(text[at] - '0');
      size += length;
    }
    if (text.size() < size) return {};
    return {size, true, text.starts_with("HTTP/1.1 2")};
  }

 private:
  [[nodiscard]] bool like_the_last(std::string_view text) const noexcept {
    return head_ != 0 && text.size() >= head_ && std::memcmp(text.data() + head_ - 4, "\r\n\r\n", 4) == 0 &&
           (length_at_ == 0 ||
            std::memcmp(text.data() + length_at_ - kLength.size(), kLength.data(), kLength.size()) == 0);
  }
  bool learn(std::string_view text) {
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) return false;
    const std::size_t at = text.substr(0, end + 2).find(kLength);
    if (at == std::string_view::npos && !text.starts_with("HTTP/1.1 204"))
      throw std::runtime_error("an answer without a Content-Length");
    length_at_ = at == std::string_view::npos ? 0 : at + kLength.size();
    head_ = end + 4;
    return true;
  }

  static constexpr std::string_view kLength = "\r\nContent-Length: ";
  std::size_t head_ = 0;
  std::size_t length_at_ = 0;  // 0: it has none
};

// redis: XADD to one stream, answered with the entry's id.
class Redis final : public Protocol {
 public:
  explicit Redis(std::size_t bytes)
      : Protocol("*5\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$1\r\n*\r\n$1\r\ne\r\n$" + std::to_string(bytes) + "\r\n" +
                 event_of(bytes) + "\r\n") {}

  // $LENGTH, a line with the id; or one line that begins with - and is an error.
  Answer next(std::string_view text) override {
    const Answer first = line(text, "$");
    if (first.size == 0 || !first.yes) return first;
    const Answer second = line(text.substr(first.size), "");
    return second.size == 0 ? Answer{} : Answer{first.size + second.size};
  }
};

// beanstalkd: put, answered with the job's id.
class Beanstalkd final : public Protocol {
 public:
  explicit Beanstalkd(std::size_t bytes)
      : Protocol("put 0 0 60 " + std::to_string(bytes) + "\r\n" + event_of(bytes) + "\r\n") {}
  Answer next(std::string_view text) override { return line(text, "INSERTED "); }
};

// NATS: published to a subject that a JetStream stream keeps, each acknowledged by a message to us.
class Nats final : public Protocol {
 public:
  explicit Nats(std::size_t bytes)
      : Protocol("PUB events answers " + std::to_string(bytes) + "\r\n" + event_of(bytes) + "\r\n") {
    greeting = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true}\r\nSUB answers 1\r\n";
  }
  Answer next(std::string_view text) override {
    Answer answer = line(text, "MSG ");
    answer.counts = answer.yes;
    answer.yes = answer.counts || !text.starts_with("-ERR");
    if (answer.size == 0 || !answer.counts) return answer;
    const std::size_t digits = text.rfind(' ', answer.size) + 1;
    std::size_t length = 0;
    for (std::size_t at = digits; text[at] != '\r'; ++at) length = 10 * length + static_cast<unsigned>(text[at] - '0');
    const std::string_view body = text.substr(answer.size);
    if (body.size() < length + 2) return {};
    return {answer.size + length + 2, true, body.substr(0, length).find("\"error\"") == std::string_view::npos};
  }
};

// syslog over TCP, which answers nothing: a line an event (RFC 5424).
class Syslog final : public Protocol {
 public:
  explicit Syslog(std::size_t bytes)
      : Protocol("<13>1 2026-01-31T12:34:56.789Z localhost bench 1 - - " + event_of(bytes) + "\n") {
    has_answers = false;
  }
  Answer next(std::string_view text) override { return {text.size(), false, true}; }
};

inline std::unique_ptr<Protocol> protocol_of(std::string_view name, std::size_t events, std::size_t bytes) {
  if (name == "http") return std::make_unique<Http>(events, bytes);
  if (name == "raw") return std::make_unique<Raw>(events, bytes);
  if (events != 1) throw std::invalid_argument("only HTTP has requests of many events");
  if (name == "redis") return std::make_unique<Redis>(bytes);
  if (name == "beanstalkd") return std::make_unique<Beanstalkd>(bytes);
  if (name == "nats") return std::make_unique<Nats>(bytes);
  if (name == "syslog") return std::make_unique<Syslog>(bytes);
  throw std::invalid_argument("an unknown protocol");
}

}  // namespace bench
