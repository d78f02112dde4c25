// From a body to events in the tracker: all events of a request or none. One intake an io thread, used by it alone; the
// tracker copies, so a body may go as soon as take() is back, though its receipt may still have to come. It refuses
// what is malformed (naming the line or the index), too large, or refused by the tracker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/budget.h"
#include "http/server.h"
#include "http/slots.h"
#include "sluice/event.h"

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
// By the Content-Type; what it does not say to be CloudEvents is one in binary mode if the head has such fields.
[[nodiscard]] Content content_of(std::string_view content_type, bool with_cloud_event_fields) noexcept;

// What the query of the target makes of JSON: `array=event` keeps an array one event, `array=batch` is the default.
// Nothing: it says something else of arrays. Other parameters are somebody else's.
[[nodiscard]] std::optional<Content> json_by_query(std::string_view target) noexcept;

// Why nothing of a request was taken.
struct Refusal {
  int status = 500;
  std::string detail;
  std::size_t line = 0;                   // of the NDJSON line that is meant, from 1; 0: none
  std::optional<std::size_t> index = {};  // of the event in a batch that is meant, from 0
  bool by_tracker = false;
};

class Intake {
 public:
  struct Limits {
    std::size_t event_bytes;
    std::size_t request_bytes;
  };

  // `submit` (empty: nothing may be taken) and `budget` outlive the intake.
  Intake(const Submit& submit, Limits limits, Budget& budget) noexcept
      : submit_(submit), limits_(limits), budget_(budget) {}

  // Most bytes that a body may have. More is 413, without reading it.
  [[nodiscard]] std::size_t body_limit(Content content) const noexcept;

  // Checks and hands over. `content_type` as the client gave it; `attributes` as put_attributes left them if it is a
  // CloudEvent in binary mode, else unused. Nothing: it was accepted, and the slot is told of its end by now, or will
  // be. A refusal: nothing was taken, and the slot is still the caller's.
  [[nodiscard]] std::optional<Refusal> take(Content content, std::string_view content_type, ChargedBytes& attributes,
                                            std::string_view body, Slot& slot);

 private:
  class EventList;

  [[nodiscard]] std::optional<Refusal> take_json(std::string_view body, bool array_is_batch, Slot& slot);
  [[nodiscard]] std::optional<Refusal> take_lines(std::string_view body, Slot& slot);
  template <typename Texts>
  [[nodiscard]] std::optional<Refusal> take_texts(Texts texts, std::string_view body, Slot& slot);
  [[nodiscard]] std::optional<Refusal> take_batch(std::string_view body, Slot& slot);
  [[nodiscard]] std::optional<Refusal> take_binary(std::string_view content_type, ChargedBytes& attributes,
                                                   std::string_view body, Slot& slot);
  [[nodiscard]] std::optional<Refusal> take_one(std::string_view payload, std::string_view content_type, Slot& slot);
  [[nodiscard]] std::optional<Refusal> hand_over(Slot& slot);

  const Submit& submit_;
  const Limits limits_;
  Budget& budget_;
  std::vector<sluice::Event> events_;  // of the request at hand; kept for its room
};

}  // namespace sluiced::http
