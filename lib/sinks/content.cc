// See the header.
#include "sinks/content.h"

#include "text/media_type.h"

namespace sluice {

Content content_of(std::string_view content_type) noexcept {
  const MediaType type(content_type);
  if (type.is("application/cloudevents+json")) return Content::cloud_event;
  if (type.is("application/json") || type.has_suffix("+json")) return Content::json;
  return type.is_text() ? Content::text : Content::bytes;
}

}  // namespace sluice
