// Two tables: a digit by its value, a value by its digit.
#include "text/base64.h"

#include <cstdint>

namespace sluice {

namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::uint8_t kNone = 64;
constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNone);
  for (std::size_t i = 0; i < kDigits.size(); ++i)
    values[static_cast<unsigned char>(kDigits[i])] = static_cast<std::uint8_t>(i);
  return values;
}();

std::uint8_t value_of(char digit) noexcept { return kValues[static_cast<unsigned char>(digit)]; }

}  // namespace

bool is_base64_digit(char c) noexcept { return value_of(c) != kNone; }

char* write_base64(std::span<const std::byte> bytes, char* to) noexcept {
  const auto at = [&bytes](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  const auto put = [&to](std::uint32_t three, std::size_t digits) {
    for (std::size_t i = 0; i < 4; ++i) *to++ = i < digits ? kDigits[three >> (18U - 6U * i) & 63U] : '=';
  };
  for (; bytes.size() >= 3; bytes = bytes.subspan(3)) put(at(0) << 16U | at(1) << 8U | at(2), 4);
  if (bytes.size() == 2) put(at(0) << 16U | at(1) << 8U, 3);
  if (bytes.size() == 1) put(at(0) << 16U, 2);
  return to;
}

bool read_base64(std::string_view text, std::string& to) {
  if (text.size() % 4 != 0) return false;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  to.reserve(to.size() + text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  unsigned count = 0;  // of the lower `bits`, those not yet written
  for (const char c : text) {
    const std::uint8_t value = value_of(c);
    if (value == kNone) return false;
    bits = bits << 6U | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      to += static_cast<char>(static_cast<unsigned char>(bits >> count));
    }
  }
  return true;
}

}  // namespace sluice
