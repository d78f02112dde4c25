// What an event's payload is: JSON, a CloudEvent, text or bytes. By its type for what it claims to be, by its bytes for
// whether it is. Pure functions: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

enum class Content : std::uint8_t {
  json,         // application/json, or anything +json
  cloud_event,  // application/cloudevents+json: JSON that is an event by itself
  text,         // text/*
  bytes,        // anything else, and no type at all
};

// What the content type claims. Upper and lower case are one; parameters are ignored.
[[nodiscard]] Content content_of(std::string_view content_type) noexcept;

// How many bytes the first character takes; 0 if it is not well-formed UTF-8. `text` is not empty.
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

// One JSON value (RFC 8259) in UTF-8, nested at most 1024 deep, numbers of any size.
[[nodiscard]] bool is_json(std::string_view text) noexcept;

}  // namespace sluice
