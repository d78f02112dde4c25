// From a body to events in the tracker: all events of a request or none. One intake an io thread, used by it alone; the
// tracker copies, so a body may go as soon as take() is back. It refuses what is malformed (naming the line), too
// large, or refused by the tracker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/budget.h"
#include "sluice/event.h"

namespace sluice {
class Tracker;
}

namespace sluiced::http {

enum class Content : std::uint8_t {
  json,         // one event, checked
  ndjson,       // one event a line, each checked
  cloudevents,  // not taken by this version
  opaque,       // one event, as it is
};
[[nodiscard]] Content content_of(std::string_view content_type) noexcept;

// What became of a request: the slot that its answer is written from. A connection writes its answers in the order of
// its requests; under Ack::queued a slot is filled before take() is back.
struct Outcome {
  int status = 500;
  std::string detail;    // of a refusal
  std::size_t line = 0;  // of the NDJSON line that is meant, from 1; 0: none
  std::size_t events = 0;
  sluice::EventId first, last;
};

class Intake {
 public:
  struct Limits {
    std::size_t event_bytes;
    std::size_t request_bytes;
  };

  // `tracker` (null: nothing is taken) and `budget` outlive the intake.
  Intake(sluice::Tracker* tracker, Limits limits, Budget& budget) noexcept
      : tracker_(tracker), limits_(limits), budget_(budget) {}

  // Most bytes that a body may have. More is 413, without reading it.
  [[nodiscard]] std::size_t body_limit(Content content) const noexcept;

  // Checks and hands over. `content_type` as the client gave it.
  [[nodiscard]] Outcome take(Content content, std::string_view content_type, std::string_view body);

 private:
  [[nodiscard]] Outcome take_lines(std::string_view body);
  [[nodiscard]] Outcome take_one(std::string_view payload, std::string_view content_type);
  [[nodiscard]] Outcome hand_over(std::size_t count);

  sluice::Tracker* tracker_;
  const Limits limits_;
  Budget& budget_;
  std::vector<sluice::Event> events_;  // of the request at hand; kept for its room
};

}  // namespace sluiced::http
