// One function for each kind of content. Its io thread; long lists of events are charged to the budget.
#include "http/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "http/cloud_events.h"
#include "http/json_batch.h"
#include "http/json_check.h"
#include "http/ndjson.h"
#include "http/text.h"
#include "sluice/tracker.h"

namespace sluiced::http {
namespace {

constexpr std::string_view kJson = "application/json";

// Events of one request whose list is not charged to the budget: 64 KiB at 32 bytes each.
constexpr std::size_t kFreeEvents = 2048;

// Whether a value ends with its line and more lines follow that are not blank: then the sender means lines.
bool begins_as_lines(std::string_view text) noexcept {
  Lines lines(text);
  auto line = lines.next();
  while (line && is_blank_line(*line)) line = lines.next();
  if (!line || check_json_grammar(*line)) return false;
  return lines.rest().find_first_not_of(" \t\r\n") != std::string_view::npos;
}

// Counts texts up to the first fault.
template <typename Texts>
std::size_t count_texts(Texts texts) noexcept {
  std::size_t count = 0;
  while (texts.next()) ++count;
  return count;
}

// The answer of track() itself; the ResponseWriter answers what a completion says.
std::optional<Refusal> refusal(sluice::Admit answer) {
  switch (answer) {
    case sluice::Admit::accepted:
      break;
    case sluice::Admit::full:
      return Refusal{429, "the queue is full"};
    case sluice::Admit::too_large:
      return Refusal{413, "more than an empty queue could take"};
    case sluice::Admit::closed:
      return Refusal{503, "the server is stopping"};
    case sluice::Admit::failed:
      return Refusal{503, "the disk has failed, and nothing of this was taken"};
  }
  return std::nullopt;
}

std::string too_large(std::size_t limit) { return fmt::format("an event is at most {} bytes", limit); }

}  // namespace

// The list of events of this request. Its memory is charged before it is allocated; the charge ends with the list.
class Intake::EventList {
 public:
  explicit EventList(Intake& intake) noexcept
      : events_(intake.events_), budget_(intake.budget_), room_(intake.budget_) {
    events_.clear();
  }
  ~EventList() {
    events_.clear();
    if (events_.capacity() > kFreeEvents) events_.shrink_to_fit();
  }
  EventList(const EventList&) = delete;
  EventList& operator=(const EventList&) = delete;

  [[nodiscard]] std::optional<Refusal> make_room(std::size_t most) {
    if (most > kFreeEvents) {
      const std::size_t bytes = most * sizeof(sluice::Event);
      if (bytes > budget_.limit()) return Refusal{413, "more events than one request may have"};
      if (!room_.try_add(bytes)) return Refusal{429, "no room for so many events now"};
    }
    events_.reserve(most);
    return std::nullopt;
  }

 private:
  std::vector<sluice::Event>& events_;
  Budget& budget_;
  Charge room_;
};

std::size_t Intake::body_limit(Content content) const noexcept {
  switch (content) {
    case Content::json:
    case Content::json_event:  // may be lines
    case Content::ndjson:
    case Content::json_seq:
    case Content::cloud_batch:
      return limits_.request_bytes;
    case Content::cloud_event:
    case Content::cloud_binary:
    case Content::opaque:
      break;
  }
  return std::min(limits_.request_bytes, limits_.event_bytes);
}

std::optional<Refusal> Intake::take(Content content, std::string_view content_type, ChargedBytes& attributes,
                                    std::string_view body, Slot& slot) {
  if (body.empty() && content != Content::cloud_binary) return Refusal{400, "no event: the body is empty"};
  if (content != Content::opaque && content != Content::cloud_binary) body = without_mark(body);
  switch (content) {
    case Content::json:
      return take_json(body, true, slot);
    case Content::json_event:
      return take_json(body, false, slot);
    case Content::ndjson:
      return take_lines(body, slot);
    case Content::json_seq:
      return take_texts(JsonSequence(body), body, slot);
    case Content::opaque:
      return take_one(body, content_type, slot);
    case Content::cloud_event:
      if (CloudFault fault = check_cloud_event(body)) return Refusal{fault.status, std::move(fault.detail)};
      return take_one(body, kCloudEventType, slot);
    case Content::cloud_batch:
      return take_batch(body, slot);
    case Content::cloud_binary:
      return take_binary(content_type, attributes, body, slot);
  }
  return Refusal{};  // cannot be
}

std::optional<Refusal> Intake::take_one(std::string_view payload, std::string_view content_type, Slot& slot) {
  if (payload.size() > limits_.event_bytes) return Refusal{413, too_large(limits_.event_bytes)};
  const sluice::Event event{std::as_bytes(std::span(payload)), content_type};
  events_.assign(1, event);
  return hand_over(slot);
}

// An array is a batch. Text that is no JSON value but begins as lines of JSON is taken as lines: log shippers send them
// with the type of JSON, too.
std::optional<Refusal> Intake::take_json(std::string_view body, bool array_is_batch, Slot& slot) {
  std::optional<Refusal> refused;
  if (array_is_batch && begins_as_array(body)) {
    refused = take_texts(JsonArray(body), body, slot);
  } else {
    const JsonFault fault = check_json(body);
    if (!fault) return take_one(body, kJson, slot);
    refused = Refusal{400, to_string(fault)};
  }
  const bool malformed = refused && refused->status == 400;
  return malformed && begins_as_lines(body) ? take_lines(body, slot) : refused;
}

// `texts` returns them one by one, checked but for the encoding.
template <typename Texts>
std::optional<Refusal> Intake::take_texts(Texts texts, std::string_view body, Slot& slot) {
  EventList list(*this);
  std::size_t most = body.size() / 2 + 1;  // each has two bytes at least ("0,"), the last one
  if (most > kFreeEvents) most = count_texts(texts);
  if (auto refusal = list.make_room(most)) return refusal;

  const bool all_utf8 = is_utf8(body);
  while (const auto text = texts.next()) {
    const std::size_t index = events_.size();
    if (text->size() > limits_.event_bytes) return Refusal{413, too_large(limits_.event_bytes), 0, index};
    if (!all_utf8 && !is_utf8(*text)) return Refusal{400, "invalid UTF-8", 0, index};
    events_.push_back({std::as_bytes(std::span(*text)), kJson});
  }
  if (const JsonFault fault = texts.fault()) {
    Refusal refused{400, to_string(fault)};
    if (texts.fault_in_text()) refused.index = events_.size();
    return refused;
  }
  if (events_.empty() && !Texts::kMayBeEmpty) return Refusal{400, "no event: every record is blank"};
  return hand_over(slot);
}

std::optional<Refusal> Intake::take_lines(std::string_view body, Slot& slot) {
  EventList list(*this);
  if (auto refusal = list.make_room(count_lines(body))) return refusal;

  // Checking the encoding of all lines at once is cheap; line by line only after a fault.
  const bool all_utf8 = is_utf8(body);
  Lines lines(body);
  while (const auto line = lines.next()) {
    if (is_blank_line(*line)) continue;
    if (line->size() > limits_.event_bytes) return Refusal{413, too_large(limits_.event_bytes), lines.number()};
    if (const JsonFault fault = all_utf8 ? check_json_grammar(*line) : check_json(*line))
      return Refusal{400, to_string(fault), lines.number()};
    events_.emplace_back(std::as_bytes(std::span(*line)), kJson);
  }
  if (events_.empty()) return Refusal{400, "no event: every line is blank"};
  return hand_over(slot);
}

std::optional<Refusal> Intake::take_batch(std::string_view body, Slot& slot) {
  if (CloudFault fault = check_cloud_batch(body)) return Refusal{fault.status, std::move(fault.detail)};
  std::size_t size = 0;  // 0 is allowed: no event is handed over, the answer is `accepted`
  for (CloudBatch batch(body); batch.next();) ++size;
  EventList list(*this);
  if (auto refusal = list.make_room(size)) return refusal;

  CloudBatch batch(body);
  while (const auto event = batch.next()) {
    const std::size_t index = events_.size();
    if (event->size() > limits_.event_bytes) return Refusal{413, too_large(limits_.event_bytes), 0, index};
    if (CloudFault fault = check_batched_event(*event)) return Refusal{fault.status, std::move(fault.detail), 0, index};
    events_.emplace_back(std::as_bytes(std::span(*event)), kCloudEventType);
  }
  return hand_over(slot);
}

std::optional<Refusal> Intake::take_binary(std::string_view content_type, ChargedBytes& attributes,
                                           std::string_view body, Slot& slot) {
  if (CloudFault fault = put_data(content_type, body, limits_.event_bytes, attributes))
    return Refusal{fault.status, std::move(fault.detail)};
  return take_one(attributes.view(), kCloudEventType, slot);
}

std::optional<Refusal> Intake::hand_over(Slot& slot) {
  assert(submit_ && "an admin server takes no events");
  slot.events = events_.size();
  const sluice::Submission submission = submit_(events_, slot.completion());
  if (submission.pending()) return std::nullopt;
  std::optional<Refusal> refused = refusal(submission.refusal());
  if (refused) refused->by_tracker = true;
  return refused;
}

}  // namespace sluiced::http
