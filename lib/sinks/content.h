// What an event's content type says of its payload: JSON, a CloudEvent, text or bytes. Pure function; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

enum class Content : std::uint8_t {
  json,         // application/json, or anything +json
  cloud_event,  // application/cloudevents+json: JSON that is an event by itself
  text,         // text/*
  bytes,        // anything else, and no type at all
};

// Case and parameters do not count. The payload may still be something else.
[[nodiscard]] Content content_of(std::string_view content_type) noexcept;

}  // namespace sluice
