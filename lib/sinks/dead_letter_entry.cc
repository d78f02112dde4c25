// The members of a line stand in one order, so reading is a walk: see put_dead_letter.
#include "sinks/dead_letter_entry.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>

#include "sinks/content.h"

namespace sluice {

namespace {

constexpr std::size_t kMostType = 255;  // as Event::content_type has it

void put_utf8(std::string& to, std::uint32_t code) {
  if (code < 0x80) {
    to += static_cast<char>(code);
  } else if (code < 0x800) {
    to += static_cast<char>(0xC0U | (code >> 6U));
    to += static_cast<char>(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    to += static_cast<char>(0xE0U | (code >> 12U));
    to += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
    to += static_cast<char>(0x80U | (code & 0x3FU));
  } else {
    to += static_cast<char>(0xF0U | (code >> 18U));
    to += static_cast<char>(0x80U | ((code >> 12U) & 0x3FU));
    to += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
    to += static_cast<char>(0x80U | (code & 0x3FU));
  }
}

class Reader {
 public:
  explicit Reader(std::string_view text) : left_(text) {}

  [[nodiscard]] bool take(std::string_view piece) {
    if (!left_.starts_with(piece)) return false;
    left_.remove_prefix(piece.size());
    return true;
  }

  // What stands behind the opening quote, up to and with the closing one.
  [[nodiscard]] bool string(std::string& to) {
    while (!left_.empty()) {
      const std::size_t plain = std::min(left_.find_first_of("\"\\"), left_.size());
      to += left_.substr(0, plain);
      left_.remove_prefix(plain);
      if (take("\"")) return true;
      if (!take("\\") || !escape(to)) return false;
    }
    return false;
  }

  template <class Number>
  [[nodiscard]] bool number(Number& to) {
    const auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), to);
    left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
    return error == std::errc{};
  }

  [[nodiscard]] std::string_view left() const noexcept { return left_; }

 private:
  bool escape(std::string& to) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    if (left_.empty()) return false;
    const char letter = left_.front();
    left_.remove_prefix(1);
    if (const std::size_t at = kLetters.find(letter); at != std::string_view::npos) {
      to += kMeant[at];
      return true;
    }
    std::uint32_t code = 0;
    if (letter != 'u' || !unit(code)) return false;
    if (code >= 0xD800 && code < 0xDC00) {
      std::uint32_t low = 0;
      if (!take("\\u") || !unit(low) || low < 0xDC00 || low > 0xDFFF) return false;
      code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
    }
    put_utf8(to, code);
    return true;
  }
  bool unit(std::uint32_t& to) {
    if (left_.size() < 4) return false;
    const auto [end, error] = std::from_chars(left_.data(), left_.data() + 4, to, 16);
    if (error != std::errc{} || end != left_.data() + 4) return false;
    left_.remove_prefix(4);
    return true;
  }

  std::string_view left_;
};

bool decode_base64(std::string_view text, std::string& to) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return false;
  while (text.ends_with('=')) text.remove_suffix(1);
  std::uint32_t bits = 0;
  unsigned have = 0;
  for (const char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return false;
    bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
    have += 6;
    if (have >= 8) {
      have -= 8;
      to += static_cast<char>((bits >> have) & 0xFFU);
    }
  }
  return true;
}

bool read_data(Reader& in, DeadLetterEntry& entry) {
  if (in.take(R"(,"data_base64":")")) {
    std::string base64;
    return in.string(base64) && decode_base64(base64, entry.payload) && in.left() == "}";
  }
  if (!in.take(R"(,"data":)")) return false;
  if (content_of(entry.content_type) == Content::text) {
    return in.take("\"") && in.string(entry.payload) && in.left() == "}";
  }
  if (!in.left().ends_with('}')) return false;
  entry.payload = in.left().substr(0, in.left().size() - 1);
  return is_json(entry.payload);
}

}  // namespace

std::optional<DeadLetterEntry> parse_dead_letter(std::string_view line) {
  Reader in(line);
  DeadLetterEntry entry;
  const bool named = in.take(R"({"id":")") && in.string(entry.id) && in.take(R"(,"time":")") && in.string(entry.time) &&
                     in.take(R"(,"reason":")") && in.string(entry.reason) && in.take(R"(,"attempts":)") &&
                     in.number(entry.attempts);
  if (!named) return std::nullopt;
  if (in.take(R"(,"datacontenttype":")") && !in.string(entry.content_type)) return std::nullopt;
  if (!read_data(in, entry)) return std::nullopt;
  return entry;
}

std::filesystem::path dead_letter_path(const std::filesystem::path& state_dir) {
  return state_dir / "dead-letter.ndjson";
}

std::string requeued_type(const DeadLetterEntry& entry) {
  constexpr std::string_view kName = "; requeued=";
  std::string type = entry.content_type.empty() ? "application/octet-stream" : entry.content_type;
  if (const std::size_t at = type.find(kName); at != std::string::npos) {
    const std::size_t end = type.find(';', at + 1);
    type.erase(at, end == std::string::npos ? end : end - at);
  }
  const std::string attribute = std::string(kName) + entry.id;
  if (type.size() + attribute.size() > kMostType) type.resize(std::min(type.size(), type.find(';')));
  return type.size() + attribute.size() > kMostType ? type : type + attribute;
}

std::error_code for_each_dead_letter(const std::filesystem::path& state_dir, const VisitDeadLetter& visit) {
  std::ifstream file(dead_letter_path(state_dir), std::ios::binary);
  if (!file) {
    const int error = errno;
    return error == ENOENT && std::filesystem::is_directory(state_dir)
               ? std::error_code{}
               : std::error_code(error, std::generic_category());
  }
  std::string line;
  while (std::getline(file, line)) {
    if (file.eof()) break;  // torn, or being written at this moment
    const auto entry = parse_dead_letter(line);
    if (!visit(line, entry ? &*entry : nullptr)) return {};
  }
  return file.bad() ? std::make_error_code(std::errc::io_error) : std::error_code{};
}

}  // namespace sluice
