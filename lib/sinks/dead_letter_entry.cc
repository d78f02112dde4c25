// See the header. put_dead_letter() writes the members in a fixed order, so they are read one after the other.
#include "sinks/dead_letter_entry.h"

#include <cerrno>
#include <charconv>
#include <fstream>

#include "sinks/content.h"
#include "text/base64.h"
#include "text/json_check.h"
#include "text/json_string.h"

namespace sluice {

namespace {

constexpr std::size_t kMaxType = 255;  // of Event::content_type

class Reader {
 public:
  explicit Reader(std::string_view text) : left_(text) {}

  [[nodiscard]] bool take(std::string_view text) {
    if (!left_.starts_with(text)) return false;
    left_.remove_prefix(text.size());
    return true;
  }

  // After the opening quote.
  [[nodiscard]] bool string(std::string& to) { return read_json_string(left_, to); }

  template <class Number>
  [[nodiscard]] bool number(Number& to) {
    const auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), to);
    left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
    return error == std::errc{};
  }

  [[nodiscard]] std::string_view left() const noexcept { return left_; }

 private:
  std::string_view left_;
};

bool read_data(Reader& in, DeadLetterEntry& entry) {
  if (in.take(R"(,"data_base64":")")) {
    std::string base64;
    return in.string(base64) && read_base64(base64, entry.payload) && in.left() == "}";
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
  if (type.size() + attribute.size() > kMaxType) type.resize(std::min(type.size(), type.find(';')));
  return type.size() + attribute.size() > kMaxType ? type : type + attribute;
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
    if (file.eof()) break;  // torn, or being written now
    const auto entry = parse_dead_letter(line);
    if (!visit(line, entry ? &*entry : nullptr)) return {};
  }
  return file.bad() ? std::make_error_code(std::errc::io_error) : std::error_code{};
}

}  // namespace sluice
