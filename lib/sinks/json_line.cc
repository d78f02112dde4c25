// See the header. Members are written in the order in which parse_dead_letter() reads them.
#include "sinks/json_line.h"

#include <array>
#include <charconv>
#include <memory>

#include "sinks/content.h"
#include "sluice/sinks.h"
#include "text/json_check.h"
#include "text/rfc3339.h"
#include "text/utf8.h"

namespace sluice {

namespace {

void put_id_and_time(ChunkWriter& out, const Delivery& event) {
  std::array<char, EventId::kMaxText> id;
  out.put(R"({"id":")");
  out.put({id.data(), event.id.write(id.data())});
  out.put(R"(","time":")");
  out.put(Rfc3339(event.received).text());
  out.put("\"");
}

void put_data(ChunkWriter& out, const Delivery& event, Content content) {
  if (!event.content_type.empty()) {
    out.put(R"(,"datacontenttype":)");
    out.put_json_string(event.content_type);
  }
  const bool json = content == Content::json || content == Content::cloud_event;
  if (json && is_json(event.text())) {
    out.put(R"(,"data":)");
    out.put_on_one_line(event.text());
  } else if (content == Content::text && is_utf8(event.text())) {
    out.put(R"(,"data":)");
    out.put_json_string(event.text());
  } else {
    out.put(R"(,"data_base64":")");
    out.put_base64(event.payload);
    out.put("\"");
  }
  out.put("}\n");
}

}  // namespace

void put_json_line(ChunkWriter& out, const Delivery& event) {
  const Content content = content_of(event.content_type);
  if (content == Content::cloud_event && is_json(event.text())) {
    out.put_on_one_line(event.text());
    out.put("\n");
    return;
  }
  put_id_and_time(out, event);
  put_data(out, event, content);
}

void put_dead_letter(ChunkWriter& out, const DeadLetter& letter) {
  const Delivery& event = letter.event;
  std::array<char, 10> attempts;  // 2^32 in decimal
  const char* const end = std::to_chars(attempts.data(), attempts.data() + attempts.size(), event.attempt).ptr;
  put_id_and_time(out, event);
  out.put(R"(,"reason":)");
  out.put_json_string(letter.reason);
  out.put(R"(,"attempts":)");
  out.put({attempts.data(), end});
  put_data(out, event, content_of(event.content_type));
}

std::string json_line(const Delivery& event) {
  std::string line;
  const auto buffer = std::make_unique<ChunkBuffer>();
  ChunkWriter out(*buffer, [&line](std::string_view chunk) {
    line += chunk;
    return true;
  });
  put_json_line(out, event);
  static_cast<void>(out.flush());
  return line;
}

}  // namespace sluice
