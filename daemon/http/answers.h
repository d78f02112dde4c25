// Answers on the wire: the 202, problem+json (RFC 9457), pages. Each is appended to the thread's output. Pure but for
// the clock behind the Date; threads share no state.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"
#include "sluice/event.h"

namespace sluiced::http {

// What an answer says of the connection's future, and who may read it.
struct Ending {
  bool keep_alive = true;    // else it closes
  std::uint32_t origin = 0;  // index from 1 of the allowed origin whose page may read the answer; 0: none
};

// The fields of every answer: the Date, formatted once a second; Connection, and Keep-Alive with the idle time; for a
// page of an allowed origin, the permission to read it (CORS). One a thread.
class CommonFields {
 public:
  // `idle` in whole seconds, rounded down; less than one is not said, since clients differ on what 0 means.
  explicit CommonFields(std::chrono::nanoseconds idle, const std::vector<std::string>& origins = {});
  [[nodiscard]] std::string_view now(Ending ending);  // valid until the next call

 private:
  std::time_t second_ = -1;
  std::string text_;  // closing, date, keep-alive: an answer has two of them, which are adjacent
  std::vector<std::string> of_origins_;
  std::string with_origin_;
};

// An error answer. `detail` needs no escaping in JSON: it is our text, never a client's.
struct Problem {
  int status = 500;
  std::string_view detail = {};
  std::size_t line = 0;                   // of an NDJSON body, from 1; 0: none
  std::string_view fields = {};           // more header lines, such as Allow with 405
  bool with_body = true;                  // else only its length, for a HEAD
  std::optional<std::size_t> index = {};  // of a batch of CloudEvents, from 0
  bool counted = false;                   // its refusal has been counted already
};

inline constexpr std::string_view kTooManyConnections = "too many connections";
inline constexpr std::string_view kTooManyOfOne = "too many connections from one address";
inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// `common`: the fields that every answer has. Without events there is no first and no last.
void write_accepted(std::string& out, std::string_view common, std::size_t events, const sluice::EventId& first,
                    const sluice::EventId& last);
void write_problem(std::string& out, std::string_view common, const Problem& problem);
void write_page(std::string& out, std::string_view common, const Page& page, bool with_body);
void write_allowed(std::string& out, std::string_view common, std::string_view fields);  // to OPTIONS

[[nodiscard]] std::string_view phrase_of(int status) noexcept;
// The reason for which a status refuses events; nothing if it is about something else.
[[nodiscard]] std::optional<Refused> refused_by(int status) noexcept;

}  // namespace sluiced::http
