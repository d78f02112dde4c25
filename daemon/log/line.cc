// Builds the line character by character, and always leaves space for its end.
#include "log/line.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <climits>

#include "text/json_string.h"
#include "text/rfc3339.h"
#include "text/utf8.h"

namespace sluiced::log {
namespace {

static_assert(kMaxLine <= PIPE_BUF);

constexpr std::string_view kCut = "...";

std::string_view name_of(sluice::LogLevel level) noexcept {
  switch (level) {
    case sluice::LogLevel::error:
      return "error";
    case sluice::LogLevel::warn:
      return "warn";
    case sluice::LogLevel::info:
      return "info";
    case sluice::LogLevel::debug:
      return "debug";
  }
  return "?";
}

// As in syslog(3).
int priority_of(sluice::LogLevel level) noexcept {
  switch (level) {
    case sluice::LogLevel::error:
      return 3;
    case sluice::LogLevel::warn:
      return 4;
    case sluice::LogLevel::info:
      return 6;
    case sluice::LogLevel::debug:
      return 7;
  }
  return 3;
}

// A character of one byte, or an invalid byte, as it is written into the line.
std::string written_out(char c, bool is_valid, Format format) {
  const bool is_control = static_cast<unsigned char>(c) < ' ' || c == '\x7f';
  if (format == Format::json) {
    if (!is_valid) return "\\ufffd";
    return is_control || sluice::needs_json_escape(c) ? std::string(sluice::JsonEscape(c).text()) : std::string{c};
  }
  if (c == '\n' || c == '\r' || c == '\t') return std::string(sluice::JsonEscape(c).text());
  return !is_valid || is_control ? fmt::format("\\x{:02x}", static_cast<unsigned char>(c)) : std::string{c};
}

// Appends the message, cut so that `spare` bytes of the line stay free.
void append_message(std::string& line, std::string_view message, Format format, std::size_t spare) {
  const std::size_t room = kMaxLine - spare - kCut.size();
  while (!message.empty()) {
    const std::size_t length = sluice::first_code_point(message).size;
    const std::size_t taken = length == 0 ? 1 : length;
    const std::string piece =
        length > 1 ? std::string(message.substr(0, length)) : written_out(message.front(), length == 1, format);
    if (line.size() + piece.size() > room) {
      line += kCut;
      return;
    }
    line += piece;
    message.remove_prefix(taken);
  }
}

}  // namespace

std::string make_line(Format format, sluice::LogLevel level, std::chrono::system_clock::time_point time,
                      std::string_view message) {
  std::string line;
  std::string_view end = "\n";
  switch (format) {
    case Format::text:
      line = fmt::format("{} {:5} ", sluice::Rfc3339(time, sluice::Rfc3339::Precision::milliseconds).text(),
                         name_of(level));
      break;
    case Format::journal:
      line = fmt::format("<{}>", priority_of(level));
      break;
    case Format::json:
      line = fmt::format(R"({{"time":"{}","level":"{}","msg":")",
                         sluice::Rfc3339(time, sluice::Rfc3339::Precision::milliseconds).text(), name_of(level));
      end = "\"}\n";
      break;
  }
  append_message(line, message, format, end.size());
  line += end;
  return line;
}

Format format_for(int fd, const char* journal_stream) noexcept {
  if (journal_stream == nullptr) return Format::text;
  const std::string_view text = journal_stream;
  const char* const end = text.data() + text.size();
  dev_t device{};
  ino_t inode{};
  const auto first = std::from_chars(text.data(), end, device);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') return Format::text;
  const auto second = std::from_chars(first.ptr + 1, end, inode);
  if (second.ec != std::errc{} || second.ptr != end) return Format::text;
  struct stat is {};
  if (::fstat(fd, &is) != 0) return Format::text;
  return is.st_dev == device && is.st_ino == inode ? Format::journal : Format::text;
}

}  // namespace sluiced::log
