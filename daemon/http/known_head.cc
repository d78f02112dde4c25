// Compares the bytes before and behind the digits, and parses the digits. That is enough: of a Content-Length the
// parser and its callbacks use only its value, and that it has digits alone. Thread: see the header.
#include "http/known_head.h"

#include <algorithm>
#include <cstdint>

#include "http/text.h"

namespace sluiced::http {

std::size_t KnownHead::match(std::string_view text) noexcept {
  if (size_ == 0) return 0;
  const std::string_view known(text_.data(), size_);
  if (digits_size_ == 0) return text.starts_with(known) ? size_ : 0;

  if (!text.starts_with(known.substr(0, digits_at_))) return 0;
  std::size_t at = digits_at_;
  std::uint64_t length = 0;
  for (const std::size_t most = std::min(text.size(), at + kMaxDigits); at < most && is_digit(text[at]); ++at)
    length = 10 * length + static_cast<std::uint64_t>(text[at] - '0');
  const std::string_view behind = known.substr(digits_at_ + digits_size_);
  if (at == digits_at_ || !text.substr(at).starts_with(behind)) return 0;
  head_.content_length = length;
  return at + behind.size();
}

void KnownHead::keep(std::string_view text, const Head& head) noexcept {
  size_ = 0;
  if (text.size() > kMaxText || !head.cloud_event.empty() || head.length_digits.size() > kMaxDigits) return;
  if (!head.origin.empty()) return;  // a browser's; its fields vary
  text.copy(text_.data(), text.size());
  const auto at = [&](std::string_view part) { return static_cast<std::size_t>(part.data() - text.data()); };
  const auto ours = [&](std::string_view part) {
    return part.empty() ? part : std::string_view(text_.data() + at(part), part.size());
  };
  head_ = head;  // its list is empty, so this allocates nothing
  head_.method = ours(head.method);
  head_.target = ours(head.target);
  head_.content_type = ours(head.content_type);
  head_.host = ours(head.host);
  head_.length_digits = ours(head.length_digits);
  digits_at_ = head.has_length ? at(head.length_digits) : 0;
  digits_size_ = head.length_digits.size();
  size_ = text.size();
}

}  // namespace sluiced::http
