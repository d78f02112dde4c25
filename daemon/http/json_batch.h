// Splits a body of many JSON texts: an array (RFC 8259), or a sequence with a record separator before each text (RFC
// 7464). Each text is checked in place, in the pass that finds its end; the caller checks the encoding. Lines are in
// ndjson.h. Pure; any thread. It refuses what check_json() refuses.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "http/json_check.h"

namespace sluiced::http {

// Whether the first character after spaces is the bracket of an array.
[[nodiscard]] inline bool begins_as_array(std::string_view text) noexcept {
  for (const char c : text) {
    if (c == '[') return true;
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return false;
  }
  return false;
}

class JsonArray {
 public:
  static constexpr bool kMayBeEmpty = true;

  // `text` begins as an array.
  explicit JsonArray(std::string_view text) noexcept : text_(text) {}

  // The next element, unchanged, without the space around it. Nothing: the array has ended, or fault() has the fault
  // and its place in the whole text.
  [[nodiscard]] std::optional<std::string_view> next() noexcept;
  [[nodiscard]] const JsonFault& fault() const noexcept { return fault_; }
  [[nodiscard]] bool fault_in_text() const noexcept { return fault_in_text_; }  // else between two, or around them

 private:
  [[nodiscard]] std::optional<std::string_view> fail(const char* what) noexcept;
  void skip_space() noexcept;

  std::string_view text_;
  std::size_t at_ = 0;  // behind the bracket or the last element, once begun
  bool begun_ = false;
  bool over_ = false;
  bool fault_in_text_ = false;
  JsonFault fault_;
};

class JsonSequence {
 public:
  static constexpr bool kMayBeEmpty = false;

  explicit JsonSequence(std::string_view text) noexcept : text_(text) {}

  // As JsonArray. Records without a text are skipped. A number or a literal without a space behind it is refused: it
  // may be truncated (RFC 7464, 2.4).
  [[nodiscard]] std::optional<std::string_view> next() noexcept;
  [[nodiscard]] const JsonFault& fault() const noexcept { return fault_; }
  [[nodiscard]] bool fault_in_text() const noexcept { return fault_in_text_; }  // else between two, or around them

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  bool begun_ = false;
  bool fault_in_text_ = false;
  JsonFault fault_;
};

}  // namespace sluiced::http
