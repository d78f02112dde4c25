// A cache of the head that was parsed last. A client that keeps its connection sends the same head each time, but for
// the digits of its Content-Length; comparing its bytes costs a tenth of parsing it. One an io thread, used by it
// alone. It refuses to keep heads that are long, were refused, or have attributes of a CloudEvent, which differ each
// time.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "http/request.h"

namespace sluiced::http {

class KnownHead {
 public:
  // The size of that head if `text` begins with it, and head() is valid for it; else 0.
  [[nodiscard]] std::size_t match(std::string_view text) noexcept;
  [[nodiscard]] const Head& head() const noexcept { return head_; }  // views into this; until the next keep()

  // `head`: the result of parse_head() on all of `text`, without a fault.
  void keep(std::string_view text, const Head& head) noexcept;

 private:
  static constexpr std::size_t kMaxText = 512;
  static constexpr std::size_t kMaxDigits = 9;  // more than a body may have, and no overflow

  std::array<char, kMaxText> text_{};
  std::size_t size_ = 0;         // 0: none
  std::size_t digits_at_ = 0;    // of the Content-Length
  std::size_t digits_size_ = 0;  // 0: it has none
  Head head_;
};

}  // namespace sluiced::http
