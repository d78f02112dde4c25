// Content types, UTF-8 and JSON, looked at and not changed. See the header.
#include "sinks/content.h"

#include <algorithm>
#include <bitset>
#include <cstring>

namespace sluice {

namespace {

constexpr std::size_t kMaxDepth = 1024;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// `lower_case` is.
bool same(std::string_view text, std::string_view lower_case) noexcept {
  return std::ranges::equal(text, lower_case, {}, lower);
}

bool continues(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

// One pass over a text, without recursion: how deep it is nested, and in what, is a bit a level.
class JsonScan {
 public:
  explicit JsonScan(std::string_view text) noexcept : at_(text.data()), end_(text.data() + text.size()) {}

  bool one_value() noexcept {
    while (true) {
      // Here a value is due.
      skip_space();
      if (take('{')) {
        if (depth_ == kMaxDepth) return false;
        in_object_[depth_++] = true;
        skip_space();
        if (!take('}')) {
          if (!key()) return false;
          continue;
        }
        --depth_;
      } else if (take('[')) {
        if (depth_ == kMaxDepth) return false;
        in_object_[depth_++] = false;
        skip_space();
        if (!take(']')) continue;
        --depth_;
      } else if (!(string() || take("true") || take("false") || take("null") || number())) {
        return false;
      }
      // Here a value has ended, and with it perhaps what it stands in.
      while (true) {
        skip_space();
        if (depth_ == 0) return at_ == end_;
        const bool in_object = in_object_[depth_ - 1];
        if (take(',')) {
          if (in_object && !key()) return false;
          break;
        }
        if (!take(in_object ? '}' : ']')) return false;
        --depth_;
      }
    }
  }

 private:
  void skip_space() noexcept {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool take(char c) noexcept {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) noexcept {
    if (!std::string_view(at_, end_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool key() noexcept {
    skip_space();
    if (!string()) return false;
    skip_space();
    return take(':');
  }
  bool string() noexcept {
    if (!take('"')) return false;
    while (at_ != end_) {
      const char c = *at_++;
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '\\' && !escape()) return false;
    }
    return false;
  }
  bool escape() noexcept {
    if (take('u')) {
      for (int i = 0; i < 4; ++i) {
        if (at_ == end_ || std::strchr("0123456789abcdefABCDEF", *at_) == nullptr || *at_ == '\0') return false;
        ++at_;
      }
      return true;
    }
    if (at_ == end_ || *at_ == '\0' || std::strchr("\"\\/bfnrt", *at_) == nullptr) return false;
    ++at_;
    return true;
  }
  bool digits() noexcept {
    const char* const begin = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ != begin;
  }
  bool number() noexcept {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }

  const char* at_;
  const char* end_;
  std::bitset<kMaxDepth> in_object_;
  std::size_t depth_ = 0;
};

}  // namespace

Content content_of(std::string_view content_type) noexcept {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  while (!type.empty() && (type.front() == ' ' || type.front() == '\t')) type.remove_prefix(1);
  if (same(type, "application/cloudevents+json")) return Content::cloud_event;
  if (same(type, "application/json")) return Content::json;
  if (type.size() > 5 && same(type.substr(type.size() - 5), "+json")) return Content::json;
  if (same(type.substr(0, 5), "text/")) return Content::text;
  return Content::bytes;
}

std::size_t utf8_length(std::string_view text) noexcept {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  if (!std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(length), continues)) return 0;
  // Too long a form, a surrogate, or beyond the last character: the second byte tells.
  const auto second = static_cast<unsigned char>(text[1]);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return 0;
  if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return 0;
  return length;
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    // Nearly everything is ASCII: eight bytes at a time while it is.
    std::uint64_t eight = 0;
    if (text.size() >= sizeof eight) {
      std::memcpy(&eight, text.data(), sizeof eight);
      if ((eight & 0x8080808080808080U) == 0) {
        text.remove_prefix(sizeof eight);
        continue;
      }
    }
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool is_json(std::string_view text) noexcept { return is_utf8(text) && JsonScan(text).one_value(); }

}  // namespace sluice
