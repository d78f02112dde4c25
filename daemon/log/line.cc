// Building the line character by character, with its end always in sight.
#include "log/line.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <climits>

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

std::string time_text(std::chrono::system_clock::time_point time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(time - seconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     rest.count());
}

// The length of the UTF-8 character that `text` begins with; 0 if it begins with none (RFC 3629, section 4).
std::size_t character_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xBF) {
    return byte(i) >= least && byte(i) <= most;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {  // not longer than needed, no surrogates
    return continues(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) && continues(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {  // likewise, and not beyond U+10FFFF
    return continues(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

// One character of one byte, or a byte that is none, as it stands in the line.
std::string written_out(char c, bool is_valid, Format format) {
  const auto byte = static_cast<unsigned char>(c);
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  if (format == Format::json) {
    if (!is_valid) return "\\ufffd";
    if (c == '"' || c == '\\') return {'\\', c};
    return byte < ' ' || byte == 0x7F ? fmt::format("\\u{:04x}", byte) : std::string{c};
  }
  return !is_valid || byte < ' ' || byte == 0x7F ? fmt::format("\\x{:02x}", byte) : std::string{c};
}

// Appends as much of the message as leaves `spare` bytes of the line.
void append_message(std::string& line, std::string_view message, Format format, std::size_t spare) {
  const std::size_t room = kMaxLine - spare - kCut.size();
  while (!message.empty()) {
    const std::size_t length = character_length(message);
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
      line = fmt::format("{} {:5} ", time_text(time), name_of(level));
      break;
    case Format::journal:
      line = fmt::format("<{}>", priority_of(level));
      break;
    case Format::json:
      line = fmt::format(R"({{"time":"{}","level":"{}","msg":")", time_text(time), name_of(level));
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
