// Collects text into chunks of at most 64 KiB on its way to a file, so that a batch is never one huge string. One
// thread. After a failed write it drops the rest; flush() reports that.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

namespace sluice {

using ChunkBuffer = std::array<char, std::size_t{64} << 10U>;

class ChunkWriter {
 public:
  // Writes a chunk. Not called again after it returned false.
  using Write = std::function<bool(std::string_view chunk)>;

  // The caller owns the buffer, and may reuse it for the next batch.
  ChunkWriter(ChunkBuffer& buffer, Write write) : buffer_(buffer), write_(std::move(write)) {}

  void put(std::string_view text);
  // Replaces line breaks by spaces.
  void put_on_one_line(std::string_view text);
  // A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
  void put_json_string(std::string_view text);
  // Base64 (RFC 4648, section 4) with padding, without quotes.
  void put_base64(std::span<const std::byte> bytes);

  // Writes the last chunk. True if every chunk was written.
  [[nodiscard]] bool flush();

 private:
  // The free part of the buffer, never empty.
  std::span<char> free_part();

  ChunkBuffer& buffer_;
  Write write_;
  std::size_t used_ = 0;
  bool failed_ = false;
};

}  // namespace sluice
