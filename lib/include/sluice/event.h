// What goes in and what a sink gets: events, their ids, deliveries, and the answers that are given about them.
// Values only: no thread owns anything here, and all errors are answers (Admit, Verdict).
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/api.h"

namespace sluice {

// What a producer hands over. Only looked at during the call: the tracker copies it.
struct Event {
  std::span<const std::byte> payload;
  std::string_view content_type;  // a media type, or empty; over 255 bytes it is answered `too_large`
};

// An event whose payload is this text, which nobody copies: both texts must live as long as the event is used. By its
// type a sink tells text (text/*) and JSON (application/json, anything +json) from bytes (all else); nothing is checked
// here.
[[nodiscard]] SLUICE_API Event event_of(std::string_view payload,
                                        std::string_view content_type = "text/plain") noexcept;

// The answer at the door.
enum class Admit : std::uint8_t {
  accepted,   // the event is ours, as firmly as the ack level says
  full,       // no room now; come back later
  too_large,  // more than the limits, or an empty queue, could ever take
  closed,     // a shutdown has begun
  failed,     // from a receipt: the disk failed under this request, it is taken whole or not at all; at the door: the
              // disk has failed, and nothing was taken
};
[[nodiscard]] SLUICE_API std::string_view to_string(Admit answer) noexcept;

// One life of a tracker: a UUIDv7 (RFC 9562), drawn at its start, so ids of different runs never meet and sort by time.
struct SLUICE_API RunId {
  std::array<std::uint8_t, 16> bytes{};

  // From the system's random source and clock. Throws std::system_error where there is no such source.
  [[nodiscard]] static RunId draw();
  friend bool operator==(const RunId&, const RunId&) = default;
};

// An event's name: RUN-SEQ, lower-case UUID and decimal from 1. Written once, kept for good.
struct SLUICE_API EventId {
  static constexpr std::size_t kMaxText = 36 + 1 + 20;  // uuid, dash, 2^64 in decimal

  RunId run;
  std::uint64_t sequence = 0;

  // Writes the text to `to`, which has room for kMaxText bytes; returns its length. Does not allocate.
  std::size_t write(char* to) const noexcept;
  friend bool operator==(const EventId&, const EventId&) = default;
};
[[nodiscard]] SLUICE_API std::string to_string(const EventId& id);

// One event as a sink sees it. Views are valid during the deliver() that shows them, no longer.
struct Delivery {
  std::span<const std::byte> payload;
  std::string_view content_type;
  EventId id;
  std::chrono::system_clock::time_point received;  // by the kernel's coarse clock: at most a tick (4 ms) early
  std::uint32_t attempt = 1;                       // 1 for the first, in each run

  // The payload, whatever it is, as characters.
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
  }
};

// What a sink says of one event of its batch: `verdict = Verdict::delivered;`, or, with a reason for the log and the
// dead letter, `verdict = {Verdict::refused, "it is no invoice"};`.
class Verdict {
 public:
  enum Kind : std::uint8_t {
    try_again,  // as every batch begins: the sink is in trouble, and the event is sent again
    suspect,  // the sink works, but fails on this event: it is sent again, and refused once it has failed so five times
              // while other events were delivered
    delivered,  // the sink holds it, as durably as the ack level says
    refused,    // for good: the event becomes a dead letter; without a state directory it is counted, and that is all
  };

  Verdict() = default;
  Verdict(Kind kind, std::string reason) : kind_(kind), reason_(std::move(reason)) {}
  Verdict& operator=(Kind kind) noexcept {
    kind_ = kind;
    reason_.clear();
    return *this;
  }

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  // The event is finished: it is not sent again.
  [[nodiscard]] bool is_final() const noexcept { return kind_ == delivered || kind_ == refused; }
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

 private:
  Kind kind_ = try_again;
  std::string reason_;
};

}  // namespace sluice
