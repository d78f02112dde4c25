// The request that load sends and limit counts: one event as JSON, or a batch as NDJSON. Always the same bytes.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bench {

inline constexpr std::string_view kEvent =
    R"({"type":"page_view","user":"u-48151623","session":"01a20b82bee07158b53e932405c0a9b6","path":"/articles/42",)"
    R"("at":"2026-01-31T12:34:56.789Z","ms":17.25,"tags":["web","mobile","beta"],"ok":true,"n":null})";
static_assert(kEvent.size() == 200);

// An event of so many bytes: the one above, with a text that makes it longer; a small one has the text alone.
inline std::string event_of(std::size_t bytes) {
  if (bytes == kEvent.size()) return std::string(kEvent);
  constexpr std::string_view text = R"("text":")";
  constexpr std::string_view words = "what happened, as somebody has told it; ";
  std::string event = bytes < kEvent.size() + 16 ? "{" : std::string(kEvent.substr(0, kEvent.size() - 1)) + ",";
  event += text;
  if (bytes < event.size() + 2) throw std::invalid_argument("an event as small as that is not to be had");
  while (event.size() + 2 < bytes) event += words.substr(0, bytes - 2 - event.size());
  return event + R"("})";
}

inline std::string request_of(std::size_t events, std::size_t bytes) {
  const std::string event = event_of(bytes);
  std::string body = event;
  for (std::size_t i = 1; i < events; ++i) body.append("\n").append(event);
  return std::string("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: ") +
         (events == 1 ? "application/json" : "application/x-ndjson") +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace bench
