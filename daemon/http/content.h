// How the body of a POST is read: as one event, a batch, lines …, by the Content-Type and the query of its target. Pure
// functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluiced::http {

enum class Content : std::uint8_t {
  json,          // one event, checked; or an array of them; or lines
  json_event,    // likewise, but an array is one event
  ndjson,        // one event a line, each checked
  json_seq,      // one event a record (RFC 7464), each checked
  cloud_event,   // one CloudEvent in the JSON format, checked
  cloud_batch,   // a list of them
  cloud_binary,  // one in binary mode: attributes in the head, the body is its data; kept in the JSON format
  opaque,        // one event, as it is
};

// By the Content-Type. If that does not name CloudEvents, a head with fields of one makes it one in binary mode.
[[nodiscard]] Content content_of(std::string_view content_type, bool with_cloud_event_fields) noexcept;

// JSON, by the query of the target: `array=event` keeps an array one event, `array=batch` is the default. Nothing: the
// query has another value for `array`. Other parameters are ignored.
[[nodiscard]] std::optional<Content> json_by_query(std::string_view target) noexcept;

}  // namespace sluiced::http
