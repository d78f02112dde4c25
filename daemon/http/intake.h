// From a body to events in the tracker: all events of a request or none. Each io thread has one, for itself. The
// tracker copies, so the body may be freed when take() returns, before the completion. It refuses bodies that are
// malformed (and names the line or the index), too large, or refused by the tracker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/charged_bytes.h"
#include "http/content.h"
#include "http/server.h"
#include "http/slots.h"
#include "sluice/event.h"

namespace sluiced::http {

// Why nothing of a request was taken.
struct Refusal {
  int status = 500;
  std::string detail;
  std::size_t line = 0;                   // of NDJSON, from 1; 0: none
  std::optional<std::size_t> index = {};  // of the event in a batch, from 0
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

  // The largest body, in bytes. A larger one is answered 413, unread.
  [[nodiscard]] std::size_t body_limit(Content content) const noexcept;

  // Checks the body and hands its events over. `content_type`: the client's; `attributes`: of put_attributes() for a
  // CloudEvent in binary mode, else unused. Nothing: accepted, and the slot is completed by now or will be. A refusal:
  // nothing was taken, and the slot is still the caller's.
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
  std::vector<sluice::Event> events_;  // of this request; a member to keep its capacity
};

}  // namespace sluiced::http
