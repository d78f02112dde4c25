// Answers as bytes: status line, fields, body, appended to the thread's output. Pure but for the date, which each
// thread has for itself.
#include "http/answers.h"

#include <charconv>
#include <cstdint>
#include <cstring>

namespace sluiced::http {
namespace {

constexpr std::string_view kClosing = "Connection: close\r\n";
constexpr std::string_view kStaying = "Connection: keep-alive\r\n";
constexpr std::size_t kDateSize = 6 + 29 + 2;  // "Date: ", an HTTP date, a line end

// Appends without checks; the caller has made room. For the most frequent answer: a string checks its capacity at each
// append, which cost more than copying the bytes.
class Cursor {
 public:
  explicit Cursor(char* at) noexcept : at_(at) {}
  Cursor& operator+=(std::string_view piece) noexcept {
    std::memcpy(at_, piece.data(), piece.size());
    at_ += piece.size();
    return *this;
  }
  Cursor& operator+=(char c) noexcept {
    *at_++ = c;
    return *this;
  }
  [[nodiscard]] const char* at() const noexcept { return at_; }

 private:
  char* at_;
};

template <typename Out>
void append_number(Out& out, std::uint64_t number) {
  std::array<char, 20> digits;
  const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out += std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

template <typename Out>
void append_head(Out& out, int status, std::string_view common, std::string_view content_type,
                 std::size_t content_length) {
  out += "HTTP/1.1 ";
  append_number(out, static_cast<std::uint64_t>(status));
  out += ' ';
  out += phrase_of(status);
  out += "\r\n";
  out += common;
  out += "Content-Type: ";
  out += content_type;
  out += "\r\nContent-Length: ";
  append_number(out, content_length);
  out += "\r\n";
}

std::string date_line(std::time_t second) {
  std::tm parts{};
  gmtime_r(&second, &parts);
  static constexpr std::array<const char*, 7> days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::string line = "Date: ";
  const auto two = [&line](int number) {
    line += static_cast<char>('0' + number / 10 % 10);
    line += static_cast<char>('0' + number % 10);
  };
  line.append(days[static_cast<std::size_t>(parts.tm_wday)]).append(", ");
  two(parts.tm_mday);
  line.append(" ").append(months[static_cast<std::size_t>(parts.tm_mon)]).append(" ");
  line.append(std::to_string(parts.tm_year + 1900)).append(" ");
  two(parts.tm_hour);
  line += ':';
  two(parts.tm_min);
  line += ':';
  two(parts.tm_sec);
  line += " GMT\r\n";
  return line;
}

}  // namespace

CommonFields::CommonFields(std::chrono::nanoseconds idle, const std::vector<std::string>& origins)
    : text_(std::string(kClosing) + std::string(kDateSize, ' ') + std::string(kStaying)) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(idle).count();
  if (seconds >= 1) text_ += "Keep-Alive: timeout=" + std::to_string(seconds) + "\r\n";
  for (const std::string& origin : origins) {
    of_origins_.push_back("Access-Control-Allow-Origin: " + origin +
                          "\r\nVary: Origin\r\nAccess-Control-Expose-Headers: Retry-After\r\n");
  }
}

std::string_view CommonFields::now(Ending ending) {
  const std::time_t second = std::time(nullptr);
  if (second != second_) {
    text_.replace(kClosing.size(), kDateSize, date_line(second));
    second_ = second;
  }
  const std::string_view text = text_;
  const std::string_view fields =
      ending.keep_alive ? text.substr(kClosing.size()) : text.substr(0, kClosing.size() + kDateSize);
  if (ending.origin == 0) return fields;
  with_origin_ = fields;
  return with_origin_ += of_origins_[ending.origin - 1];
}

void write_accepted(std::string& out, std::string_view common, std::size_t events, const sluice::EventId& first,
                    const sluice::EventId& last) {
  constexpr std::string_view none = R"({"accepted":0})";
  // Its head is 240 bytes at most without the fields for a page, which are 90 and its origin; its body 170.
  constexpr std::size_t most = 512 + 128 + kMaxOrigin;
  if (events == 0) {
    append_head(out, 202, common, "application/json", none.size());
    out.append("\r\n").append(none);
    return;
  }
  std::array<char, sluice::EventId::kMaxText> first_text;
  std::array<char, sluice::EventId::kMaxText> last_text;
  std::array<char, 20> count_text;
  const std::string_view first_id(first_text.data(), first.write(first_text.data()));
  const std::string_view last_id =
      events == 1 ? first_id : std::string_view(last_text.data(), last.write(last_text.data()));
  const char* const count_end = std::to_chars(count_text.data(), count_text.data() + count_text.size(), events).ptr;
  const std::string_view count(count_text.data(), static_cast<std::size_t>(count_end - count_text.data()));

  const std::array<std::string_view, 7> body = {"{\"accepted\":", count, ",\"first\":\"", first_id, "\",\"last\":\"",
                                                last_id,          "\"}"};
  std::size_t size = 0;
  for (const std::string_view part : body) size += part.size();

  std::array<char, most> whole;
  Cursor to(whole.data());
  append_head(to, 202, common, "application/json", size);
  to += "\r\n";
  for (const std::string_view part : body) to += part;
  out.append(whole.data(), static_cast<std::size_t>(to.at() - whole.data()));
}

void write_problem(std::string& out, std::string_view common, const Problem& problem) {
  std::string body = "{\"title\":\"";
  body.append(phrase_of(problem.status)).append("\",\"status\":").append(std::to_string(problem.status));
  body.append(",\"detail\":\"").append(problem.detail).append("\"");
  if (problem.line != 0) body.append(",\"line\":").append(std::to_string(problem.line));
  if (problem.index) body.append(",\"index\":").append(std::to_string(*problem.index));
  body += '}';

  append_head(out, problem.status, common, "application/problem+json", body.size());
  out += problem.fields;
  if (problem.status == 429 || problem.status == 503) out += "Retry-After: 1\r\n";
  out += "\r\n";
  if (problem.with_body) out += body;
}

void write_page(std::string& out, std::string_view common, const Page& page, bool with_body) {
  append_head(out, page.status, common, page.content_type, page.body.size());
  out += "\r\n";
  if (with_body) out += page.body;
}

void write_allowed(std::string& out, std::string_view common, std::string_view fields) {
  out.append("HTTP/1.1 204 ").append(phrase_of(204)).append("\r\n").append(common).append(fields).append("\r\n");
}

std::optional<Refused> refused_by(int status) noexcept {
  switch (status) {
    case 400:
    case 411:
      return Refused::malformed;
    case 403:
      return Refused::forbidden;
    case 408:
      return Refused::timeout;
    case 413:
    case 414:
    case 431:
      return Refused::too_large;
    case 415:
    case 417:
    case 505:
      return Refused::unsupported;
    case 429:
      return Refused::full;
    case 503:
      return Refused::closed;
    default:
      return std::nullopt;  // 404 and 405 speak of pages, 500 of the daemon's own fault
  }
}

std::string_view phrase_of(int status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Answer";
  }
}

}  // namespace sluiced::http
