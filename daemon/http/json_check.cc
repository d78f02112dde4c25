// The grammar of RFC 8259 as one loop over the bytes with a stack of bits, so that nesting costs no recursion. Pure.
#include "http/json_check.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace sluiced::http {
namespace {

// What encloses the value at hand, innermost last: a bit each, set for an object. No recursion, so no stack to blow.
class Nesting {
 public:
  explicit Nesting(std::size_t most) noexcept : most_(std::min(most, kMaxJsonNesting)) {}

  [[nodiscard]] bool empty() const noexcept { return depth_ == 0; }
  [[nodiscard]] bool in_object() const noexcept { return (bits_[word(depth_ - 1)] & bit(depth_ - 1)) != 0; }
  [[nodiscard]] bool try_open(bool object) noexcept {
    if (depth_ == most_) return false;
    const std::uint64_t mask = bit(depth_);
    bits_[word(depth_)] = object ? bits_[word(depth_)] | mask : bits_[word(depth_)] & ~mask;
    ++depth_;
    return true;
  }
  void close() noexcept { --depth_; }

 private:
  static std::size_t word(std::size_t depth) noexcept { return depth / 64; }
  static std::uint64_t bit(std::size_t depth) noexcept { return std::uint64_t{1} << (depth % 64); }

  const std::size_t most_;
  std::size_t depth_ = 0;
  std::array<std::uint64_t, kMaxJsonNesting / 64> bits_;  // those below depth_ are set
};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_hex(char c) noexcept { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Eight bytes at a time: the top bit of each byte that ends a run of plain string bytes (a quote, a backslash, a
// control). A borrow may set bits above the lowest true one, never below it; only the lowest is used.
std::uint64_t ends_of_run(std::uint64_t eight) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101U;
  constexpr std::uint64_t tops = ones * 0x80U;
  const std::uint64_t quote = eight ^ (ones * '"');
  const std::uint64_t backslash = eight ^ (ones * '\\');
  const std::uint64_t found =
      ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((eight - ones * 0x20U) & ~eight);
  return found & tops;
}

// The walk. Each function moves `at_` behind what it read; `false` leaves the fault in `fault_`.
class Walk {
 public:
  Walk(std::string_view text, std::size_t nesting) noexcept
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), nesting_(nesting) {}

  JsonFault run() noexcept {
    for (;;) {
      bool opened = false;
      if (!value(opened)) return fault_;
      if (opened) continue;  // the first value of an object or array is next
      bool whole = false;
      if (!after_value(whole) || whole) return fault_;
    }
  }

 private:
  bool fail(const char* what) noexcept {
    fault_ =
        at_ == end_ ? JsonFault{"the text ends early", 0} : JsonFault{what, static_cast<std::size_t>(at_ - begin_) + 1};
    return false;
  }

  void skip_space() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  bool value(bool& opened) noexcept {
    skip_space();
    if (at_ == end_) return fail("");
    switch (*at_) {
      case '"':
        return string();
      case '{':
        return open(true, '}', opened);
      case '[':
        return open(false, ']', opened);
      case 't':
        return literal("true");
      case 'f':
        return literal("false");
      case 'n':
        return literal("null");
      default:
        return number();
    }
  }

  bool open(bool object, char closer, bool& opened) noexcept {
    if (!nesting_.try_open(object)) return fail("nesting deeper than 1024");
    ++at_;
    skip_space();
    if (at_ != end_ && *at_ == closer) {
      ++at_;
      nesting_.close();
      return true;
    }
    opened = true;
    return !object || name();
  }

  // A member's name and its colon.
  bool name() noexcept {
    skip_space();
    if (at_ == end_ || *at_ != '"') return fail("expected a name");
    if (!string()) return false;
    skip_space();
    if (at_ == end_ || *at_ != ':') return fail("expected a colon");
    ++at_;
    return true;
  }

  // Behind a value: closes what ends with it, up to the comma before the next one, or to the end of the text.
  bool after_value(bool& whole) noexcept {
    for (;;) {
      skip_space();
      if (nesting_.empty()) {
        whole = at_ == end_;
        return whole || fail("unexpected text after the value");
      }
      if (at_ == end_) return fail("");
      const bool object = nesting_.in_object();
      if (*at_ == ',') {
        ++at_;
        return !object || name();
      }
      if (*at_ != (object ? '}' : ']')) return fail(object ? "expected a comma or }" : "expected a comma or ]");
      ++at_;
      nesting_.close();
    }
  }

  bool literal(std::string_view word) noexcept {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) return fail("invalid value");
    at_ += word.size();
    return true;
  }

  bool digits() noexcept {
    if (at_ == end_ || !is_digit(*at_)) return fail("invalid number");
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return true;
  }

  bool number() noexcept {
    if (*at_ != '-' && !is_digit(*at_)) return fail("invalid value");
    if (*at_ == '-') ++at_;
    if (at_ != end_ && *at_ == '0') {
      ++at_;
      if (at_ != end_ && is_digit(*at_)) return fail("invalid number");
    } else if (!digits()) {
      return false;
    }
    if (at_ != end_ && *at_ == '.') {
      ++at_;
      if (!digits()) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      return digits();
    }
    return true;
  }

  bool string() noexcept {
    ++at_;  // the opening quote
    for (;;) {
      skip_plain();
      if (at_ == end_) return fail("");
      if (*at_ == '"') {
        ++at_;
        return true;
      }
      if (*at_ != '\\') return fail("a control character in a string");
      if (!escape()) return false;
    }
  }

  // To the next byte that is not simply part of a string. Bytes above ASCII are: their encoding is checked elsewhere.
  void skip_plain() noexcept {
    if constexpr (std::endian::native == std::endian::little) {
      while (end_ - at_ >= 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, at_, sizeof eight);
        const std::uint64_t found = ends_of_run(eight);
        if (found != 0) {
          at_ += std::countr_zero(found) / 8;
          return;
        }
        at_ += 8;
      }
    }
    while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
  }

  bool escape() noexcept {
    ++at_;  // the backslash
    if (at_ == end_) return fail("");
    const char kind = *at_;
    if (kind != 'u') {
      if (std::string_view("\"\\/bfnrt").find(kind) == std::string_view::npos) return fail("invalid escape");
      ++at_;
      return true;
    }
    ++at_;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ == end_ || !is_hex(*at_)) return fail("invalid escape");
    }
    return true;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  Nesting nesting_;
  JsonFault fault_;
};

}  // namespace

std::string to_string(const JsonFault& fault) {
  if (!fault) return "valid";
  return fault.byte == 0 ? fault.what : fmt::format("{} at byte {}", fault.what, fault.byte);
}

JsonFault check_json(std::string_view text, std::size_t nesting) noexcept {
  return is_utf8(text) ? check_json_grammar(text, nesting) : JsonFault{"invalid UTF-8", 0};
}

bool is_utf8(std::string_view text) noexcept { return simdjson::validate_utf8(text.data(), text.size()); }

JsonFault check_json_grammar(std::string_view text, std::size_t nesting) noexcept { return Walk(text, nesting).run(); }

}  // namespace sluiced::http
