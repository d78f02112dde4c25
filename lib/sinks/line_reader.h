// Reads a file line by line, up to a given offset; bytes appended later are not read. One thread. After an error it
// returns no more lines.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "sinks/descriptor.h"

namespace sluice {

class LineReader {
 public:
  LineReader(const std::filesystem::path& path, std::size_t end);

  // The next line without its line feed, valid until the next call; nothing at the end or after an error.
  [[nodiscard]] std::optional<std::string_view> next();
  // Makes next() return the last line once more.
  void put_back() noexcept;

  // The offset after the last line, and its number, from 1.
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::size_t number() const noexcept { return number_; }
  [[nodiscard]] const std::error_code& error() const noexcept { return error_; }
  // True if `path` still names the file that this reads.
  [[nodiscard]] bool still_is(const std::filesystem::path& path) const noexcept;

 private:
  Descriptor file_;
  std::vector<char> chunk_;
  const std::size_t end_;
  std::size_t read_ = 0;
  std::string_view unread_;  // in the chunk
  std::string line_;
  bool repeat_ = false;  // next() returns `line_` again
  std::size_t offset_ = 0;
  std::size_t number_ = 0;
  std::error_code error_;
};

}  // namespace sluice
