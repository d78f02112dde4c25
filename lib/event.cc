// Ids and answers as text. Values only: any thread.
#include "sluice/event.h"

#include <sys/random.h>

#include <cerrno>
#include <charconv>
#include <system_error>

namespace sluice {

std::string_view to_string(Admit answer) noexcept {
  switch (answer) {
    case Admit::accepted:
      return "accepted";
    case Admit::full:
      return "full";
    case Admit::too_large:
      return "too large";
    case Admit::closed:
      return "closed";
    case Admit::failed:
      return "failed";
  }
  return "?";
}

RunId RunId::draw() {
  RunId id;
  std::size_t filled = 0;
  while (filled < id.bytes.size()) {
    const ssize_t n = ::getrandom(id.bytes.data() + filled, id.bytes.size() - filled, 0);
    if (n > 0) {
      filled += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "getrandom");
    }
  }
  // RFC 9562, 5.7: 48 bits of Unix milliseconds, big endian, then the version (7) and the variant (binary 10).
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  const auto ms =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count());
  for (std::size_t i = 0; i < 6; ++i) id.bytes[i] = static_cast<std::uint8_t>(ms >> (8 * (5 - i)));
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0fU) | 0x70U);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3fU) | 0x80U);
  return id;
}

std::size_t EventId::write(char* to) const noexcept {
  static constexpr char kHex[] = "0123456789abcdef";
  char* at = to;
  for (std::size_t i = 0; i < run.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
    *at++ = kHex[run.bytes[i] >> 4U];
    *at++ = kHex[run.bytes[i] & 0x0fU];
  }
  *at++ = '-';
  at = std::to_chars(at, to + kMaxText, sequence).ptr;
  return static_cast<std::size_t>(at - to);
}

std::string to_string(const EventId& id) {
  std::array<char, EventId::kMaxText> text;
  return {text.data(), id.write(text.data())};
}

}  // namespace sluice
