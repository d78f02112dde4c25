// A client that speaks HTTP by the byte, so that a test can send what no library would. Blocking, one connection, one
// thread; every wait has a limit.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/fd.h"
#include "support/process.h"

namespace test {

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

// Connects a socket to HOST:PORT (numbers only) or unix:PATH, as `type` says (SOCK_STREAM, perhaps with SOCK_NONBLOCK);
// an exception if nobody listens there. `receive_bytes`: as SO_RCVBUF, 0 for the system's own.
[[nodiscard]] Fd connect_to(const std::string& address, int type, int receive_bytes = 0);

class Client {
 public:
  explicit Client(const std::string& address);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  // False if the peer has closed the connection or takes nothing for a while.
  bool send(std::string_view bytes);
  void finish_sending();  // the write end only

  // The next answer; nothing if the connection ends first, or at the limit. Interim answers (100) are answers here.
  [[nodiscard]] std::optional<Answer> read_answer(milliseconds limit = std::chrono::seconds(5));
  // The same of an answer without a body, whatever its length says: one to a HEAD.
  [[nodiscard]] std::optional<Answer> read_head(milliseconds limit = std::chrono::seconds(5));
  // Sends and reads; an Answer of status 0 if there was none.
  [[nodiscard]] Answer ask(std::string_view request);

  // Waits for the connection's end, with nothing before it.
  [[nodiscard]] bool wait_closed(milliseconds limit = std::chrono::seconds(5));
  // It ended by a reset, not by an end: bytes of ours were not read, and answers may have been thrown away.
  [[nodiscard]] bool was_reset() const noexcept { return reset_; }

 private:
  enum class More { bytes, end, limit };
  More read_more(Clock::time_point until);

  Fd fd_;
  std::string received_;
  bool reset_ = false;
};

// A POST of /v1/events as text. `headers`: whole lines, each with its CRLF.
[[nodiscard]] std::string post(std::string_view content_type, std::string_view body, std::string_view headers = {});
[[nodiscard]] std::string get(std::string_view path);

// One request on a connection of its own.
[[nodiscard]] Answer ask_once(const std::string& address, std::string_view request);

// Asks, a connection each time, until the answer has this status; the last answer, of another status at the limit.
[[nodiscard]] Answer ask_until(const std::string& address, std::string_view request, int status, milliseconds limit);

// A number in the admin's /status, such as the first of `"accepted":N`.
[[nodiscard]] std::size_t status_number(const std::string& admin, std::string_view name);

// Waits until that number is `wanted`; false at the limit.
[[nodiscard]] bool wait_status_number(const std::string& admin, std::string_view name, std::size_t wanted,
                                      milliseconds limit);

}  // namespace test
