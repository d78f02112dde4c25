// How answers look on the wire: the 202, problem+json (RFC 9457), pages. Each is appended to what the thread will write
// next, in the order of the requests. Pure but for the clock behind the Date line; no state is shared between threads.
#pragma once

#include <array>
#include <cstddef>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "http/server.h"
#include "sluice/event.h"

namespace sluiced::http {

// "Date: Sun, 06 Nov 1994 08:49:37 GMT" and its line end, made anew once a second. One a thread.
class DateLine {
 public:
  [[nodiscard]] std::string_view now();

 private:
  static constexpr std::size_t kSize = 6 + 29 + 2;  // "Date: ", an HTTP date, a line end

  std::time_t second_ = -1;
  std::array<char, kSize> line_{};
};

// What becomes of the connection, as the answer must say it.
struct Ending {
  bool http10 = false;     // there, staying open is what must be said
  bool keep_alive = true;  // else closing is
};

// What is wrong. `detail` needs no escaping in JSON: it is our text, never a client's.
struct Problem {
  int status = 500;
  std::string_view detail = {};
  std::size_t line = 0;                   // of an NDJSON body, from 1; 0: none
  std::string_view allow = {};            // with 405: the methods that would do
  bool with_body = true;                  // else only its length, as to a HEAD
  std::optional<std::size_t> index = {};  // of a batch of CloudEvents, from 0
  bool counted = false;                   // as refused, by who knows better what it was
};

inline constexpr std::string_view kTooManyConnections = "too many connections";
inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Without events there is no first and no last.
void write_accepted(std::string& out, std::string_view date, Ending ending, std::size_t events,
                    const sluice::EventId& first, const sluice::EventId& last);
void write_problem(std::string& out, std::string_view date, Ending ending, const Problem& problem);
void write_page(std::string& out, std::string_view date, Ending ending, const Page& page, bool with_body);

[[nodiscard]] std::string_view phrase_of(int status) noexcept;
// What an answer says about events; nothing if it is about something else.
[[nodiscard]] std::optional<Refused> refused_by(int status) noexcept;

}  // namespace sluiced::http
