// The report line and its JSON, written without allocation so that a signal handler may do it too.
#include "sluice/report.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "sluice/host.h"

namespace sluice {

namespace {

// Text into a buffer of fixed size; the rest is cut off. Signal safe.
class Writer {
 public:
  Writer(char* to, std::size_t size) noexcept : begin_(to), at_(to), end_(to + size) {}

  Writer& text(std::string_view s) noexcept {
    const std::size_t n = std::min(s.size(), static_cast<std::size_t>(end_ - at_));
    std::memcpy(at_, s.data(), n);
    at_ += n;
    return *this;
  }
  Writer& number(std::uint64_t value) noexcept {
    const auto done = std::to_chars(at_, end_, value);
    if (done.ec == std::errc()) at_ = done.ptr;
    return *this;
  }
  // Seconds with three decimals, truncated.
  Writer& seconds(std::chrono::nanoseconds value) noexcept {
    const auto ms = static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(value).count()));
    number(ms / 1000);
    const std::array<char, 4> part{'.', static_cast<char>('0' + ms / 100 % 10), static_cast<char>('0' + ms / 10 % 10),
                                   static_cast<char>('0' + ms % 10)};
    return text({part.data(), part.size()});
  }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

 private:
  char* begin_;
  char* at_;
  char* end_;
};

}  // namespace

std::string_view to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::drained:
      return "drained";
    case Reason::deadline:
      return "deadline";
    case Reason::signal:
      return "signal";
    case Reason::fault:
      return "fault";
    case Reason::sink:
      return "sink";
    case Reason::backstop:
      return "backstop";
  }
  return "?";
}

std::string_view to_string(WorkerState state) noexcept {
  switch (state) {
    case WorkerState::idle:
      return "idle";
    case WorkerState::taking:
      return "taking";
    case WorkerState::in_sink:
      return "in_sink";
    case WorkerState::burying:
      return "burying";
    case WorkerState::answered:
      return "answered";
    case WorkerState::kept:
      return "kept";
  }
  return "?";
}

std::size_t write_report(char* to, std::size_t size, Reason reason, const Books& books,
                         std::chrono::nanoseconds elapsed) noexcept {
  return Writer(to, size)
      .text("stopped reason=")
      .text(to_string(reason))
      .text(" accepted=")
      .number(books.accepted)
      .text(" delivered=")
      .number(books.delivered)
      .text(" dead=")
      .number(books.dead)
      .text(" kept=")
      .number(books.kept)
      .text(" lost=")
      .number(books.lost)
      .text(" replayed=")
      .number(books.replayed)
      .text(" elapsed=")
      .seconds(elapsed)
      .text("s")
      .size();
}

std::size_t write_report_json(char* to, std::size_t size, Reason reason, const Books& books,
                              std::chrono::nanoseconds elapsed) noexcept {
  return Writer(to, size)
      .text(R"({"reason":")")
      .text(to_string(reason))
      .text(R"(","accepted":)")
      .number(books.accepted)
      .text(R"(,"delivered":)")
      .number(books.delivered)
      .text(R"(,"dead":)")
      .number(books.dead)
      .text(R"(,"kept":)")
      .number(books.kept)
      .text(R"(,"lost":)")
      .number(books.lost)
      .text(R"(,"replayed":)")
      .number(books.replayed)
      .text(R"(,"elapsed":)")
      .seconds(elapsed)
      .text("}")
      .size();
}

std::string to_string(const Report& report) {
  std::array<char, 512> line;
  return {line.data(), write_report(line.data(), line.size(), report.reason, report.books, report.elapsed)};
}

}  // namespace sluice
