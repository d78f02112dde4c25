// Gathering and escaping. See the header.
#include "sinks/pieces.h"

#include <algorithm>
#include <cstdint>

#include "sinks/content.h"

namespace sluice {

void Pieces::put(std::string_view text) {
  while (!text.empty()) {
    const std::span<char> to = room();
    const std::size_t n = std::min(to.size(), text.size());
    std::copy_n(text.data(), n, to.data());
    used_ += n;
    text.remove_prefix(n);
  }
}

void Pieces::put_on_one_line(std::string_view text) {
  while (!text.empty()) {
    const std::span<char> to = room();
    const std::size_t n = std::min(to.size(), text.size());
    std::transform(text.data(), text.data() + n, to.data(), [](char c) { return c == '\n' || c == '\r' ? ' ' : c; });
    used_ += n;
    text.remove_prefix(n);
  }
}

void Pieces::put_json_string(std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  put("\"");
  std::size_t clean = 0;  // how much of `text` goes out as it is
  const auto put_clean = [&](std::size_t skip) {
    put(text.substr(0, clean));
    text.remove_prefix(clean + skip);
    clean = 0;
  };
  while (clean < text.size()) {
    const char c = text[clean];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      put_clean(1);
      put({std::array{'\\', c}.data(), 2});
    } else if (byte < 0x20) {
      put_clean(1);
      switch (c) {
        case '\n':
          put("\\n");
          break;
        case '\r':
          put("\\r");
          break;
        case '\t':
          put("\\t");
          break;
        default:
          put({std::array{'\\', 'u', '0', '0', kHex[byte >> 4U], kHex[byte & 15U]}.data(), 6});
      }
    } else if (byte < 0x80) {
      ++clean;
    } else if (const std::size_t length = utf8_length(text.substr(clean)); length != 0) {
      clean += length;
    } else {
      put_clean(1);
      put("\xEF\xBF\xBD");
    }
  }
  put_clean(0);
  put("\"");
}

void Pieces::put_base64(std::span<const std::byte> bytes) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), 3);
    std::uint32_t three = 0;
    for (std::size_t i = 0; i < 3; ++i) three = three << 8U | (i < n ? std::to_integer<std::uint32_t>(bytes[i]) : 0U);
    std::array<char, 4> four{kDigits[three >> 18U], kDigits[three >> 12U & 63U], kDigits[three >> 6U & 63U],
                             kDigits[three & 63U]};
    std::fill(four.begin() + 1 + static_cast<std::ptrdiff_t>(n), four.end(), '=');
    put({four.data(), four.size()});
    bytes = bytes.subspan(n);
  }
}

bool Pieces::flush() {
  if (!failed_ && used_ > 0) failed_ = !write_({buffer_.data(), used_});
  used_ = 0;
  return !failed_;
}

std::span<char> Pieces::room() {
  // A failure is remembered, and the caller hears of it at the end.
  if (used_ == buffer_.size()) static_cast<void>(flush());
  return std::span(buffer_).subspan(used_);
}

}  // namespace sluice
