// The grammar of chunks as a state machine. Thread: see the header.
#include "http/chunks.h"

#include <algorithm>

#include "http/text.h"

namespace sluiced::http {
namespace {

constexpr int kNoDigit = 16;

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return kNoDigit;
}

}  // namespace

ChunkStep ChunkReader::step(std::string_view input) noexcept {
  using State = ChunkStep::State;
  std::size_t used = 0;
  while (used < input.size()) {
    if (at_ == At::data) {
      const std::string_view data =
          input.substr(used, static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - used)));
      left_ -= data.size();
      if (left_ == 0) at_ = At::data_cr;
      line_ = 0;
      return {State::going, used + data.size(), data};
    }
    if (++line_ > kMaxLine) return {State::too_long, used, {}};
    if (!take(input[used++])) return {State::bad, used, {}};
    if (at_ == At::over) return {State::done, used, {}};
  }
  return {State::starved, used, {}};
}

// Takes one byte that is not data. False: it is not allowed here.
bool ChunkReader::take(char byte) noexcept {
  const auto go_on_if = [this](bool fits, At next) {
    at_ = next;
    return fits;
  };
  switch (at_) {
    case At::size:
      return take_size(byte);
    case At::blank:
      if (byte == ';') at_ = At::extension;
      return byte == ';' || is_blank(byte);
    case At::extension:
      if (byte == '\r') at_ = At::size_end;
      return byte == '\r' || is_field_text(byte);
    case At::size_end:
      digits_ = false;
      return go_on_if(byte == '\n', left_ == 0 ? At::trailer : At::data);
    case At::data_cr:
      return go_on_if(byte == '\r', At::data_end);
    case At::data_end:
      return go_on_if(byte == '\n', At::size);
    case At::trailer:
      name_size_ = 0;
      if (byte == '\r') return go_on_if(true, At::last);
      at_ = At::trailer_name;
      return byte != ':' && take_name(byte);
    case At::trailer_name:
      return take_name(byte);
    case At::trailer_value:
      if (byte == '\r') at_ = At::trailer_end;
      return byte == '\r' || is_field_text(byte);
    case At::trailer_end:
      return go_on_if(byte == '\n', At::trailer);
    case At::last:
      return go_on_if(byte == '\n', At::over);
    case At::data:  // handled in step()
    case At::over:
      break;
  }
  return false;
}

bool ChunkReader::take_size(char byte) noexcept {
  if (const int digit = hex_digit(byte); digit != kNoDigit) {
    const bool fits = (left_ >> 60U) == 0;
    left_ = left_ << 4U | static_cast<std::uint64_t>(digit);
    digits_ = true;
    return fits;
  }
  if (byte == '\r') {
    at_ = At::size_end;
  } else if (byte == ';') {
    at_ = At::extension;
  } else if (is_blank(byte)) {
    at_ = At::blank;
  } else {
    return false;
  }
  return digits_;
}

bool ChunkReader::take_name(char byte) noexcept {
  if (byte == ':') {
    at_ = At::trailer_value;
    const std::string_view name(name_.data(), name_size_);
    return name != "content-length" && name != "transfer-encoding";
  }
  if (name_size_ < name_.size()) name_[name_size_++] = lower(byte);
  return is_token(byte);
}

}  // namespace sluiced::http
