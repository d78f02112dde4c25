// An instant as text: 2024-05-06T07:08:09.123456Z, in UTC, cut off at the microsecond. A value; does not allocate.
#pragma once

#include <array>
#include <chrono>
#include <string_view>

namespace sluice {

class Rfc3339 {
 public:
  explicit Rfc3339(std::chrono::system_clock::time_point instant) noexcept;

  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), text_.size()}; }

 private:
  std::array<char, sizeof "2024-05-06T07:08:09.123456Z" - 1> text_{};
};

}  // namespace sluice
