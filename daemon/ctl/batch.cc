// See the header.
#include "ctl/batch.h"

#include <algorithm>

#include "ctl/printable.h"
#include "text/json_check.h"

namespace sluicectl {

namespace {

// One bit each.
constexpr unsigned kLines = 1, kArray = 2, kCloudBatch = 4;

// The spelling of sluiced: only under it has sluiced checked the payload.
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kCloudEvent = "application/cloudevents+json";

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The intake takes the text of an event from a line or from between two commas. So no format carries a text that the
// intake would split, trim or refuse: with a line feed, with space at an end, not a single value (`1,2` would become
// two events).
unsigned formats_for(const sluice::Delivery& event) {
  const std::string_view text = event.text();
  const bool json = event.content_type == kJson;
  if ((!json && event.content_type != kCloudEvent) || text.empty()) return 0;
  const bool in_array = !is_space(text.front()) && !is_space(text.back()) &&
                        !sluice::check_json_grammar(text, sluice::kMaxJsonNesting - 1);  // one level is the array's
  if (!json) return in_array ? kCloudBatch : 0;
  const bool in_line = text.find('\n') == std::string_view::npos && text.back() != '\r' &&
                       (in_array || !sluice::check_json_grammar(text));
  return (in_line ? kLines : 0) | (in_array ? kArray : 0);
}

}  // namespace

bool Batch::try_add(const sluice::Delivery& event) {
  const std::string_view payload = event.text();
  const unsigned formats = formats_for(event);
  if (!ids_.empty()) {
    const std::size_t bytes = texts_.size() + payload.size() + ids_.size() + 2;  // with commas and brackets
    const bool fits = ids_.size() < max_events_ && bytes <= max_bytes_;
    if (!fits || (formats_ & formats) == 0 || event.content_type != content_type_) return false;
  }
  formats_ = ids_.empty() ? formats : formats_ & formats;
  if (ids_.empty()) content_type_ = event.content_type;
  at_.push_back({texts_.size(), payload.size()});
  texts_.append(payload);
  ids_.push_back(event.id);
  return true;
}

void Batch::clear() {
  texts_.clear();
  at_.clear();
  ids_.clear();
}

Batch::Request Batch::request(std::size_t first, std::size_t count) const {
  if (count == 1) return {is_plain(content_type_) ? content_type_ : "", "array=event", std::string(text(first))};
  const bool lines = (formats_ & kLines) != 0;
  const bool cloud = (formats_ & kCloudBatch) != 0;
  Request request{lines   ? "application/x-ndjson"
                  : cloud ? "application/cloudevents-batch+json"
                          : std::string(kJson),
                  "array=batch", ""};
  request.body.reserve(texts_.size() + ids_.size() + 2);
  for (std::size_t i = first; i < first + count; ++i) {
    if (!lines) request.body += i == first ? '[' : ',';
    request.body += text(i);
    if (lines) request.body += '\n';
  }
  if (!lines) request.body += ']';
  return request;
}

}  // namespace sluicectl
