// A sink's or handler's answer about one event. A plain value: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace sluice {

// What a sink says about one event of its batch: `verdict = Verdict::delivered;`, or, with a reason for the log and the
// dead letter, `verdict = {Verdict::refused, "not an invoice"};`. A handler returns one: `return Verdict::delivered;`.
class Verdict {
 public:
  enum Kind : std::uint8_t {
    try_again,  // the initial value: the sink is in trouble; the event is delivered again later
    suspect,    // the sink works but fails on this event: it is delivered again, and refused after five such failures
                // while other events were delivered
    delivered,  // the sink holds it, as durably as the ack level says
    refused,    // for good: the event becomes a dead letter; without a state directory it is only counted and logged
  };

  Verdict() = default;
  Verdict(Kind kind) noexcept : kind_(kind) {}  // NOLINT(google-explicit-constructor): `return Verdict::delivered;`
  Verdict(Kind kind, std::string reason) noexcept : kind_(kind), reason_(std::move(reason)) {}
  Verdict& operator=(Kind kind) noexcept {
    kind_ = kind;
    reason_.clear();
    return *this;
  }

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  // The event is finished: it is not delivered again.
  [[nodiscard]] bool is_final() const noexcept { return kind_ == delivered || kind_ == refused; }
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

  // With a kind: whatever the reason. With a verdict: the reason counts as well.
  friend bool operator==(const Verdict& verdict, Kind kind) noexcept { return verdict.kind_ == kind; }
  friend bool operator==(const Verdict&, const Verdict&) = default;

 private:
  Kind kind_ = try_again;
  std::string reason_;
};

}  // namespace sluice
