// See the header.
#include "sinks/pieces.h"

#include <algorithm>

#include "text/base64.h"
#include "text/json_string.h"

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
  sluice::put_json_string(text, [this](std::string_view piece) { put(piece); });
}

void Pieces::put_base64(std::span<const std::byte> bytes) {
  sluice::put_base64(bytes, [this](std::string_view piece) { put(piece); });
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
