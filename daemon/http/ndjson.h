// Splits NDJSON into its lines: LF or CRLF, the last with or without an end. Pure; any thread. It finds line ends only;
// each line is checked for itself, so no value can span two.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

namespace sluiced::http {

class Lines {
 public:
  explicit Lines(std::string_view text) noexcept : rest_(text) {}

  // The next line without its end, may be empty; nothing after the last.
  [[nodiscard]] std::optional<std::string_view> next() noexcept {
    if (rest_.empty()) return std::nullopt;
    ++number_;
    const void* end = std::memchr(rest_.data(), '\n', rest_.size());
    const std::size_t size =
        end == nullptr ? rest_.size() : static_cast<std::size_t>(static_cast<const char*>(end) - rest_.data());
    std::string_view line = rest_.substr(0, size);
    rest_.remove_prefix(end == nullptr ? size : size + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  [[nodiscard]] std::size_t number() const noexcept { return number_; }  // of the line returned last, from 1
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

// Empty or only blanks, which is no event. A carriage return counts as a blank: editors leave several.
[[nodiscard]] inline bool is_blank_line(std::string_view line) noexcept {
  return line.empty() ||
         (static_cast<unsigned char>(line.front()) <= ' ' && line.find_first_not_of(" \t\r") == std::string_view::npos);
}

// How many lines there are, empty ones too. (std::count of the line ends took half as long as checking the JSON.)
[[nodiscard]] inline std::size_t count_lines(std::string_view text) noexcept {
  Lines lines(text);
  while (lines.next()) {
  }
  return lines.number();
}

}  // namespace sluiced::http
