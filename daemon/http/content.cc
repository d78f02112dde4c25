// The media types that senders of JSON, lines and CloudEvents use. Pure.
#include "http/content.h"

#include "http/cloud_events.h"
#include "http/text.h"
#include "text/media_type.h"

namespace sluiced::http {
namespace {

// Lines of JSON have many names, with and without `x-`; each has its senders.
bool is_ndjson(const sluice::MediaType& type) noexcept {
  if (type.name() == "application/x-ndjson") return true;  // the most common one
  const std::string_view of = type.name().substr(0, type.name().find('/'));
  if (!equal_without_case(of, "application") && !equal_without_case(of, "text")) return false;
  std::string_view name = type.subtype();
  if (equal_without_case(name.substr(0, 2), "x-")) name.remove_prefix(2);
  return equal_without_case(name, "ndjson") || equal_without_case(name, "jsonl") ||
         equal_without_case(name, "jsonlines") || equal_without_case(name, "json-lines") ||
         equal_without_case(name, "ldjson");
}

}  // namespace

Content content_of(std::string_view content_type, bool with_cloud_event_fields) noexcept {
  const sluice::MediaType type(content_type);
  if (type.is(kCloudEventType)) return Content::cloud_event;
  if (type.is("application/cloudevents-batch+json")) return Content::cloud_batch;
  if (with_cloud_event_fields) return Content::cloud_binary;
  if (type.is("application/json") || type.is("text/json")) return Content::json;
  if (is_ndjson(type)) return Content::ndjson;
  if (type.is("application/json-seq")) return Content::json_seq;
  return Content::opaque;
}

std::optional<Content> json_by_query(std::string_view target) noexcept {
  constexpr std::string_view name = "array=";
  Content content = Content::json;
  for (std::size_t at = target.find('?'); at != std::string_view::npos;) {
    target.remove_prefix(at + 1);
    at = target.find('&');
    const std::string_view parameter = target.substr(0, at);
    if (!parameter.starts_with(name)) continue;
    const std::string_view value = parameter.substr(name.size());
    if (value != "event" && value != "batch") return std::nullopt;
    content = value == "event" ? Content::json_event : Content::json;
  }
  return content;
}

}  // namespace sluiced::http
