// Arrays by the library's grammar, one element at a time; sequences by their separators. Pure.
#include "http/json_batch.h"

#include <algorithm>

namespace sluiced::http {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr char kSeparator = '\x1e';

std::string_view trimmed_of_space(std::string_view text) noexcept {
  const std::size_t first = std::min(text.find_first_not_of(kSpace), text.size());
  text.remove_prefix(first);
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

}  // namespace

std::optional<std::string_view> JsonArray::next() noexcept {
  if (over_) return std::nullopt;
  skip_space();
  if (!begun_) {
    begun_ = true;
    ++at_;  // the bracket
    skip_space();
    if (at_ < text_.size() && text_[at_] == ']') over_ = true;
  } else if (at_ < text_.size() && text_[at_] == ']') {
    over_ = true;
  } else if (at_ == text_.size() || text_[at_] != ',') {
    return fail("expected a comma or ]");
  } else {
    ++at_;
    skip_space();
  }
  if (over_) {
    ++at_;
    skip_space();
    if (at_ != text_.size()) return fail("unexpected text after the value");
    return std::nullopt;
  }

  const std::string_view rest = text_.substr(at_);
  const JsonFront front = check_json_front(rest, kMaxJsonNesting - 1);  // one level is the array's own
  if (front.fault) {
    over_ = fault_in_text_ = true;
    fault_ = front.fault;
    if (fault_.byte != 0) fault_.byte += at_;
    return std::nullopt;
  }
  at_ += front.size;
  return rest.substr(0, front.size);
}

std::optional<std::string_view> JsonArray::fail(const char* what) noexcept {
  over_ = true;
  fault_ = at_ == text_.size() ? JsonFault{"the text ends early", 0} : JsonFault{what, at_ + 1};
  return std::nullopt;
}

void JsonArray::skip_space() noexcept { at_ = std::min(text_.find_first_not_of(kSpace, at_), text_.size()); }

std::optional<std::string_view> JsonSequence::next() noexcept {
  if (!begun_) {
    begun_ = true;
    at_ = std::min(text_.find_first_not_of(kSpace), text_.size());
    if (at_ < text_.size() && text_[at_] != kSeparator) fault_ = {"expected a record separator", at_ + 1};
  }
  while (!fault_ && at_ < text_.size()) {
    const std::size_t begin = at_ + 1;  // behind the separator
    const std::size_t end = std::min(text_.find(kSeparator, begin), text_.size());
    at_ = end;
    const std::string_view record = text_.substr(begin, end - begin);
    const std::string_view value = trimmed_of_space(record);
    if (value.empty()) continue;
    fault_ = check_json_grammar(value);
    const bool closed = value.front() == '"' || value.front() == '{' || value.front() == '[';
    if (!fault_ && !closed && kSpace.find(record.back()) == std::string_view::npos)
      fault_ = {"a value that may have been cut", end - begin};
    if (!fault_) return value;
    fault_in_text_ = true;
    if (fault_.byte != 0) fault_.byte += begin;
  }
  return std::nullopt;
}

}  // namespace sluiced::http
