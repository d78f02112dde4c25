// An HTTP client for one server, over libcurl, which only http_client.cc includes: keeps its connection, waits for each
// answer, follows no redirect, uses no proxy. One thread; a request blocks for a limited time. Refuses https, and
// answers larger than 8 MiB, since the server may be another program.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "flags/address.h"

namespace sluicectl {

struct Address : sluiced::flags::Address {
  std::string shown;  // as given
};
// HOST:PORT, [::1]:PORT or unix:PATH; nothing if it is none of these.
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
    no_answer,      // it was sent, at least in part: whether it was taken is unknown
  };

  // `limit`: of a request and its answer together, however slowly they come.
  explicit HttpClient(Address address, std::chrono::milliseconds limit = std::chrono::seconds{30});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // An empty content type is not sent. A request is sent once, also if its connection breaks.
  [[nodiscard]] Result ask(std::string_view method, std::string_view target, std::string_view content_type,
                           std::string_view body, Answer& answer);

  // A field of all later requests, `NAME: VALUE`.
  void always_send(std::string field) { field_ = std::move(field); }

  // One line that names the server: why there was no connection or answer.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }

 private:
  struct Transfer;  // libcurl's handle and the state of its callbacks

  const Address address_;
  const std::chrono::milliseconds limit_;
  const std::unique_ptr<Transfer> transfer_;
  std::string field_;
  std::string error_;
};

}  // namespace sluicectl
