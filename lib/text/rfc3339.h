// An instant as text (RFC 3339): 2024-05-06T07:08:09.123456Z, in UTC, cut off at the precision asked for. A value; does
// not allocate. Years 0 to 9999.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

class Rfc3339 {
 public:
  enum class Precision : std::uint8_t { seconds = 0, milliseconds = 3, microseconds = 6 };  // digits after the point

  explicit Rfc3339(std::chrono::system_clock::time_point instant, Precision = Precision::microseconds) noexcept;

  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, sizeof "2024-05-06T07:08:09.123456Z" - 1> text_{};
  std::size_t size_ = 0;
};

}  // namespace sluice
