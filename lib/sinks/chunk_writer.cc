// See the header.
#include "sinks/chunk_writer.h"

#include <algorithm>

#include "text/base64.h"
#include "text/json_string.h"

namespace sluice {

void ChunkWriter::put(std::string_view text) {
  while (!text.empty()) {
    const std::span<char> to = free_part();
    const std::size_t n = std::min(to.size(), text.size());
    std::copy_n(text.data(), n, to.data());
    used_ += n;
    text.remove_prefix(n);
  }
}

void ChunkWriter::put_on_one_line(std::string_view text) {
  while (!text.empty()) {
    const std::span<char> to = free_part();
    const std::size_t n = std::min(to.size(), text.size());
    std::transform(text.data(), text.data() + n, to.data(), [](char c) { return c == '\n' || c == '\r' ? ' ' : c; });
    used_ += n;
    text.remove_prefix(n);
  }
}

void ChunkWriter::put_json_string(std::string_view text) {
  sluice::put_json_string(text, [this](std::string_view part) { put(part); });
}

void ChunkWriter::put_base64(std::span<const std::byte> bytes) {
  sluice::put_base64(bytes, [this](std::string_view part) { put(part); });
}

bool ChunkWriter::flush() {
  if (!failed_ && used_ > 0) failed_ = !write_({buffer_.data(), used_});
  used_ = 0;
  return !failed_;
}

std::span<char> ChunkWriter::free_part() {
  // A failure is stored; the last flush() reports it.
  if (used_ == buffer_.size()) static_cast<void>(flush());
  return std::span(buffer_).subspan(used_);
}

}  // namespace sluice
