// An HTTP client for one server: keeps its connection, waits for each answer, follows nothing. One thread; blocks up to
// a limit a step. It refuses https, and answers larger than 64 MiB.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluicectl {

struct Address {
  std::string host;  // without brackets; empty for a unix socket
  std::string port;
  std::string path;   // of a unix socket
  std::string shown;  // as given
};
// HOST:PORT, [::1]:PORT or unix:PATH; nothing for what is none.
[[nodiscard]] std::optional<Address> parse_address(std::string_view text);

struct Url {
  Address address;
  std::string target;  // "/v1/events" if the URL has none
};
// http://HOST[:PORT][/PATH], or an address alone.
[[nodiscard]] std::optional<Url> parse_url(std::string_view text);

struct Answer {
  int status = 0;
  std::string body;
  std::optional<std::chrono::seconds> retry_after;
};

class HttpClient {
 public:
  enum class Result : std::uint8_t {
    answered,
    no_connection,  // nothing was sent
    no_answer,      // it was sent, at least in part: what became of it is unknown
  };

  explicit HttpClient(Address address, std::chrono::seconds limit = std::chrono::seconds{30});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // An empty content type is not sent.
  [[nodiscard]] Result ask(std::string_view method, std::string_view target, std::string_view content_type,
                           std::string_view body, Answer& answer);

  // Why there was no connection or answer, one line that names the server.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }
  [[nodiscard]] const Address& address() const noexcept { return address_; }

 private:
  [[nodiscard]] bool connect();
  [[nodiscard]] bool connect_unix();
  void close() noexcept;
  [[nodiscard]] bool is_stale() const;
  [[nodiscard]] bool send(std::string_view bytes);
  [[nodiscard]] bool read_answer(bool has_body, Answer& answer);
  [[nodiscard]] bool read_more();
  [[nodiscard]] bool read_body(std::string_view head, Answer& answer);
  [[nodiscard]] bool read_chunks(std::string& body);
  void say(std::string_view step, int error);

  const Address address_;
  const std::chrono::seconds limit_;
  int descriptor_ = -1;
  std::string received_;  // and not yet used
  bool ended_ = false;    // the server sends no more
  std::string error_;
};

}  // namespace sluicectl
