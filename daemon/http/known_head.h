// The last head that was taken apart, kept with what was found in it. A client that keeps its connection sends the same
// head each time, but for the digits of its Content-Length; such a one is known by comparing its bytes, at a tenth of
// what taking it apart costs, and what it says is then the same. One a loop, used by its thread alone. It keeps none
// that is long, was refused, or carries a CloudEvent's attributes, which are other ones each time.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "http/request.h"

namespace sluiced::http {

class KnownHead {
 public:
  // How many bytes of `text` are that head again; 0: it does not begin with it. Else head() says what it says.
  [[nodiscard]] std::size_t match(std::string_view text) noexcept;
  [[nodiscard]] const Head& head() const noexcept { return head_; }  // views into this; until the next keep()

  // `head` is what parse_head() has found in all of `text`, without a fault.
  void keep(std::string_view text, const Head& head) noexcept;

 private:
  static constexpr std::size_t kMost = 512;
  static constexpr std::size_t kMostDigits = 9;  // more than a body may have, and no overflow

  std::array<char, kMost> text_{};
  std::size_t size_ = 0;         // 0: none
  std::size_t digits_at_ = 0;    // of the Content-Length
  std::size_t digits_size_ = 0;  // 0: it has none
  Head head_;
};

}  // namespace sluiced::http
