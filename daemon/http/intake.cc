// From a body to events to the tracker: whole or not at all. Its loop's thread; the budget is charged for long lists.
#include "http/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "http/json_check.h"
#include "http/ndjson.h"
#include "sluice/tracker.h"

namespace sluiced::http {
namespace {

constexpr std::string_view kJson = "application/json";

// The list of events of one request is free up to here, and charged to the budget beyond it: 2048 events of 32 bytes.
constexpr std::size_t kFreeEvents = 2048;

// Media types are ASCII and case does not count.
bool same_type(std::string_view type, std::string_view name) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return type.size() == name.size() &&
         std::equal(type.begin(), type.end(), name.begin(), [&](char a, char b) { return lower(a) == b; });
}

// As the tracker answered by itself; what a receipt says is answered elsewhere.
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

Content content_of(std::string_view content_type) noexcept {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  if (same_type(type, kJson)) return Content::json;
  if (same_type(type, "application/x-ndjson")) return Content::ndjson;
  if (same_type(type, "application/cloudevents+json") || same_type(type, "application/cloudevents-batch+json"))
    return Content::cloudevents;
  return Content::opaque;
}

std::size_t Intake::body_limit(Content content) const noexcept {
  return content == Content::ndjson ? limits_.request_bytes : std::min(limits_.request_bytes, limits_.event_bytes);
}

std::optional<Refusal> Intake::take(Content content, std::string_view content_type, std::string_view body, Slot& slot) {
  if (body.empty()) return Refusal{400, "no event: the body is empty"};
  switch (content) {
    case Content::json:
      if (const JsonFault fault = check_json(body)) return Refusal{400, to_string(fault)};
      return take_one(body, kJson, slot);
    case Content::ndjson:
      return take_lines(body, slot);
    case Content::opaque:
      return take_one(body, content_type, slot);
    case Content::cloudevents:
      break;
  }
  return Refusal{415, "CloudEvents are not taken by this version"};
}

std::optional<Refusal> Intake::take_one(std::string_view payload, std::string_view content_type, Slot& slot) {
  if (payload.size() > limits_.event_bytes) return Refusal{413, too_large(limits_.event_bytes)};
  const sluice::Event event{std::as_bytes(std::span(payload)), content_type};
  events_.assign(1, event);
  return hand_over(slot);
}

std::optional<Refusal> Intake::take_lines(std::string_view body, Slot& slot) {
  // Room for as many events as there can be, charged before it is made: short lines weigh more here than on the wire.
  const auto most = static_cast<std::size_t>(std::count(body.begin(), body.end(), '\n')) + 1;
  Charge room(budget_);
  if (most > kFreeEvents) {
    const std::size_t bytes = most * sizeof(sluice::Event);
    if (bytes > budget_.limit()) return Refusal{413, "more lines than one request may have"};
    if (!room.try_add(bytes)) return Refusal{429, "no room for so many lines now"};
  }
  struct Tidy {  // the room that was charged goes with its charge
    std::vector<sluice::Event>& events;
    ~Tidy() {
      events.clear();
      if (events.capacity() > kFreeEvents) events.shrink_to_fit();
    }
  } const tidy{events_};
  events_.clear();
  events_.reserve(most);

  // The encoding of all lines at once is cheap; only if something is wrong there is it looked for line by line.
  const bool all_utf8 = is_utf8(body);
  Lines lines(body);
  while (const auto line = lines.next()) {
    if (line->empty()) continue;
    if (line->size() > limits_.event_bytes) return Refusal{413, too_large(limits_.event_bytes), lines.number()};
    if (const JsonFault fault = all_utf8 ? check_json_grammar(*line) : check_json(*line))
      return Refusal{400, to_string(fault), lines.number()};
    events_.push_back({std::as_bytes(std::span(*line)), kJson});
  }
  if (events_.empty()) return Refusal{400, "no event: every line is empty"};
  return hand_over(slot);
}

std::optional<Refusal> Intake::hand_over(Slot& slot) {
  assert(submit_ && "an admin server takes no events");
  slot.events = events_.size();
  std::optional<Refusal> refused = refusal(submit_(events_, slot.receipt()));
  if (refused) refused->by_tracker = true;
  return refused;
}

}  // namespace sluiced::http
