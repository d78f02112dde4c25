// The request that load sends and limit counts: one event as JSON, or a batch as NDJSON. Always the same bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bench {

inline constexpr std::string_view kEvent =
    R"({"type":"page_view","user":"u-48151623","session":"01a20b82bee07158b53e932405c0a9b6","path":"/articles/42",)"
    R"("at":"2026-01-31T12:34:56.789Z","ms":17.25,"tags":["web","mobile","beta"],"ok":true,"n":null})";
static_assert(kEvent.size() == 200);

inline std::string request_of(std::size_t events) {
  std::string body(kEvent);
  for (std::size_t i = 1; i < events; ++i) body.append("\n").append(kEvent);
  return std::string("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: ") +
         (events == 1 ? "application/json" : "application/x-ndjson") +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace bench
