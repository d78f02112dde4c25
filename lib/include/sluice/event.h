// Events, the answers about them, their ids, and their delivery. Plain values: any thread. Only RunId::draw() throws.
#pragma once

#include <array>
#include <cassert>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sluice/api.h"

namespace sluice {
template <typename T>
concept TextLike = std::convertible_to<const T&, std::string_view>;
template <typename T>
concept BytesLike = std::convertible_to<const T&, std::span<const std::byte>>;
// An rvalue that owns its characters or bytes: a view of it would dangle after the full expression.
template <typename T>
concept Temporary = !std::is_lvalue_reference_v<T> && (TextLike<T> || BytesLike<T>)&&!std::ranges::borrowed_range<T> &&
                    !std::is_pointer_v<T>;

// What a producer gives to the tracker: two views, which must stay valid until track() has returned; the tracker copies
// them. An event of a temporary string or vector does not compile; pass the temporary to track() itself instead.
struct Event {
  std::span<const std::byte> payload;
  // A media type, or empty; more than 255 bytes are answered `too_large`. It tells a sink whether the payload is text
  // (text/*), JSON (application/json, anything +json) or bytes (all else). Nothing checks the payload against it.
  std::string_view content_type;

  constexpr Event() noexcept = default;
  template <TextLike Text>
  Event(const Text& text, std::string_view type = "text/plain") noexcept  // NOLINT(google-explicit-constructor)
      : payload(std::as_bytes(std::span(std::string_view(text)))), content_type(type) {}
  template <BytesLike Bytes>
  // NOLINTNEXTLINE(google-explicit-constructor): implicit, so that track("text") and track({a, b}) work
  Event(const Bytes& bytes, std::string_view type = {}) noexcept : payload(bytes), content_type(type) {}
  template <typename Payload, typename Type = std::string_view>
    requires(Temporary<Payload> || Temporary<Type>)
  Event(Payload&&, Type&& = {}) = delete;  // NOLINT(bugprone-forwarding-reference-overload)
};

// Whether the tracker took the events.
enum class Admit : std::uint8_t {
  accepted,   // taken, as durably as the ack level says
  full,       // nothing taken: no space now; try again later
  too_large,  // nothing taken: more than the limits, or an empty queue, can ever hold
  closed,     // nothing taken: a shutdown has begun
  failed,  // track(): the disk has failed; nothing taken, or, if it failed during this call, all or nothing. Receipt:
           // the disk failed during this request; all or nothing was taken
};
[[nodiscard]] SLUICE_API std::string_view to_string(Admit answer) noexcept;

// What a track() with a receipt returns: the outcome is pending, or the events were refused. Only the receipt can say
// that they are accepted.
class [[nodiscard]] Submission {
 public:
  // The receipt will be called, or was called already.
  [[nodiscard]] static Submission under_way() noexcept { return {}; }
  explicit Submission(Admit refusal) noexcept : refusal_(refusal) {
    assert(refusal != Admit::accepted && "only a receipt says that events are accepted");
  }

  // True: the receipt is called exactly once. False: never; see refusal().
  [[nodiscard]] bool pending() const noexcept { return !refusal_; }
  // Why nothing was taken. Only if not pending.
  [[nodiscard]] Admit refusal() const noexcept { return assert(refusal_), refusal_.value_or(Admit::failed); }
  bool operator==(Admit) const = delete;  // ask pending() or refusal()
  friend bool operator==(const Submission&, const Submission&) = default;

 private:
  Submission() noexcept = default;
  std::optional<Admit> refusal_{};
};

// One run of a tracker: a UUIDv7 (RFC 9562), drawn at its start, so ids of different runs never collide and sort by
// start time.
struct SLUICE_API RunId {
  std::array<std::uint8_t, 16> bytes{};

  // From the system's random source and clock. Throws std::system_error if the system has no such source.
  [[nodiscard]] static RunId draw();
  friend bool operator==(const RunId&, const RunId&) = default;
};

// The id of an event: RUN-SEQ, lower-case UUID and decimal from 1. Assigned once; it never changes.
struct SLUICE_API EventId {
  static constexpr std::size_t kMaxText = 36 + 1 + 20;  // uuid, dash, 2^64 in decimal

  RunId run;
  std::uint64_t sequence = 0;

  // Writes the text to `to`, which holds kMaxText bytes; returns its length. Does not allocate.
  std::size_t write(char* to) const noexcept;
  friend bool operator==(const EventId&, const EventId&) = default;
};
[[nodiscard]] SLUICE_API std::string to_string(const EventId& id);

// One event as a sink sees it. The views are valid only during the deliver() or handler call that gets them.
struct Delivery {
  std::span<const std::byte> payload{};
  std::string_view content_type{};
  EventId id{};
  std::chrono::system_clock::time_point received{};  // the kernel's coarse clock: at most one tick (4 ms) early
  std::uint32_t attempt = 1;                         // 1 for the first, in each run

  // The payload as characters, whatever it holds.
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
  }
};

}  // namespace sluice
